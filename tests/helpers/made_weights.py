"""Random weights of the matchers' networks, in the files that their authors publish."""

from __future__ import annotations

import re
from pathlib import Path

import torch


def write_aliked(folder: Path) -> Path:
    """Of the smallest model: a plain dictionary without the detector's own grid."""
    from kornia.feature import ALIKED

    state = {key: value for key, value in ALIKED("aliked-t16").state_dict().items() if key != "dkd.hw_grid"}
    torch.save(state, folder / "aliked-t16.pth")
    return folder / "aliked-t16.pth"


def write_disk_lightglue(folder: Path) -> dict[str, str]:
    """DISK's weights inside "extractor"; LightGlue's under the names of its first version."""
    from kornia.feature import DISK, LightGlue

    torch.save({"extractor": DISK().state_dict()}, folder / "depth-save.pth")
    state = LightGlue(**{"features": None, "input_dim": 128, "weights": None}).state_dict()
    old = {re.sub(r"^transformers\.(\d+)\.(self_attn|cross_attn)", r"\2.\1", key): v for key, v in state.items()}
    old.pop("confidence_thresholds")
    torch.save(old, folder / "disk_lightglue.pth")
    return {"weights": str(folder / "depth-save.pth"), "matcher": str(folder / "disk_lightglue.pth")}


def write_loftr(folder: Path) -> Path:
    """Inside "state_dict", as Lightning saves them."""
    from kornia.feature import LoFTR

    torch.save({"state_dict": LoFTR(None).state_dict()}, folder / "loftr_outdoor.ckpt")
    return folder / "loftr_outdoor.ckpt"
