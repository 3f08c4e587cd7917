"""A tiny scene with all that stage `share` reads, and readers of the page."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.heads.lifted import Lifted
from halonerf.stages.share import Share
from helpers.made_folders import run_stage, write_folders
from helpers.made_query import SEGMENTER

CODE = 4
FIELD: dict[str, Any] = {"_target_": "halonerf.fields.Gaussians", "code_size": CODE}
HEAD: dict[str, Any] = {"_target_": "halonerf.heads.Lifted"}
HOSTILE = '</script><img src=x onerror="alert(1)">\u2028<!--'
WORDS = ("window", HOSTILE)
GAUSSIANS = 300


def write_share_folders(root: Path) -> dict[str, Path]:
    """Four photos with 300 Gaussians, different appearance codes, and a concept whose name contains a script."""
    folders = write_folders(root, concepts=WORDS)
    scene = Scene(folders["ingest"])
    random = torch.Generator().manual_seed(0)
    field = Gaussians(code_size=CODE)
    places = torch.cat(
        [0.3 * torch.randn(GAUSSIANS - 2, 3, generator=random), torch.tensor([[40.0, 0, 9], [0, -3, 0]])]
    )
    field.initialise(places, torch.rand(GAUSSIANS, 3, generator=random), scene.names[1:], seed=0)
    with torch.no_grad():
        field.opacity_logits.copy_(4 * torch.rand(GAUSSIANS, generator=random) - 1)
        field.log_scales += 0.5 * torch.randn(field.log_scales.shape, generator=random)
        field.rotations.copy_(torch.randn(field.rotations.shape, generator=random))
        field.codes.table.copy_(3 * torch.randn(field.codes.table.shape, generator=random))
        field.appearance_model.to_affine.weight.copy_(
            torch.randn(field.appearance_model.to_affine.weight.shape, generator=random)
        )
    field.save(folders["reconstruct"] / "field.safetensors")
    head = Lifted()
    support = 9 * torch.rand(GAUSSIANS, 2, generator=random) + 0.1
    support[:40] = 0
    head.hold((places[:, :1] > 0).float() * torch.tensor([[0.9, 0.2]]), support)
    head.save(folders["localize"] / "head.safetensors")
    return folders


def shared(folders: dict[str, Path], out: Path, **options: Any) -> tuple[str, dict[str, Any]]:
    """The text of the page and the facts in it."""
    run_stage(Share(FIELD, HEAD, SEGMENTER, **options), out, folders)
    page = (out / "index.html").read_text(encoding="utf-8")
    return page, json.loads(element(page, "facts-data"))


def element(page: str, name: str) -> str:
    found = re.search(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return found.group(1)


def array(page: str, facts: dict[str, Any], name: str) -> np.ndarray:
    entry = facts["arrays"][name]
    raw = base64.b64decode(element(page, "splats"))
    count = int(np.prod(entry["shape"]))
    return np.frombuffer(raw, np.dtype(entry["type"]).newbyteorder("<"), count, entry["start"]).reshape(entry["shape"])


def opened_field(folders: dict[str, Path]) -> Gaussians:
    field = Gaussians(code_size=CODE)
    field.load(folders["reconstruct"] / "field.safetensors")
    return field
