"""Weights of matchers: published layouts load completely; missing and wrong files are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from halonerf.errors import BadInput, MissingArtifact
from halonerf.miners.aliked import Aliked
from halonerf.miners.disk_lightglue import DiskLightGlue
from halonerf.miners.loftr import Loftr
from helpers.made_weights import write_aliked, write_disk_lightglue, write_loftr


def test_the_published_aliked_lacks_nothing_but_its_grid(shared: Callable[[str], Path]):
    """Loaded by kornia itself, the same photo gives the same features."""
    from kornia.feature import ALIKED

    file = shared("weights") / "aliked-n16rot.pth"
    plain = ALIKED("aliked-n16rot", 100, 0.1)
    missing, unknown = plain.load_state_dict(torch.load(file, weights_only=True), strict=False)
    assert (missing, unknown) == (["dkd.hw_grid"], [])
    image = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)), (96, 128)
    )
    with torch.no_grad():
        expected = plain.eval()(image)[0]
    found = Aliked(str(file), features=100).features(image[0])
    torch.testing.assert_close(found["points"], expected.keypoints + 0.5, atol=1e-4, rtol=0)
    torch.testing.assert_close(found["descriptors"], expected.descriptors)


def test_lightglue_matches_what_kornias_own_does(tmp_path: Path):
    from kornia.feature import LightGlue

    files = write_disk_lightglue(tmp_path)
    miner = DiskLightGlue(**files, min_score=0.0)
    image = torch.nn.functional.interpolate(
        torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)), (96, 128)
    )
    features = miner.features(image[0])
    plain = LightGlue(**{"features": None, "input_dim": 128, "weights": None, "filter_threshold": 0.0}).eval()
    state = torch.load(files["matcher"], weights_only=True)
    names = plain.state_dict()
    renamed = {}
    for key, value in state.items():
        kind, _, rest = key.partition(".")
        layer, _, rest = rest.partition(".")
        renamed[f"transformers.{layer}.{kind}.{rest}" if kind in ("self_attn", "cross_attn") else key] = value
    assert set(names) - set(renamed) == {"confidence_thresholds"}
    plain.load_state_dict(renamed, strict=False)
    half = {"keypoints": features["keypoints"][None], "descriptors": features["descriptors"][None]}
    size = {"image_size": torch.tensor([[128.0, 96.0]])}
    with torch.no_grad():
        expected = plain({"image0": {**half, **size}, "image1": {**half, **size}})
    matches = miner.match_features(features, features)
    assert len(matches) > 0
    torch.testing.assert_close(matches.points0, features["points"][expected["matches"][0][:, 0]])
    torch.testing.assert_close(matches.score, expected["scores"][0])


@pytest.mark.parametrize("miner", [Aliked, DiskLightGlue, Loftr])
def test_missing_weights_say_where_to_get_them(miner: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(MissingArtifact, match=r"(?s)miner\.weights=.*no such file.*https://.*miner\.weights=FILE"):
        miner(weights=str(tmp_path / "none.pth"))

    def refuse(address: str, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MissingArtifact, match=r"(?s)no network.*https://.*miner=sift"):
        miner(weights="hub")


def test_the_hub_folder_is_used_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    write_aliked(tmp_path / "hub" / "checkpoints")
    assert Aliked("hub", "aliked-t16").size == 1024


def test_other_weights_are_refused(tmp_path: Path):
    loftr = write_loftr(tmp_path)
    with pytest.raises(BadInput, match="missing"):
        Aliked(str(loftr))
    with pytest.raises(BadInput, match=r"(?s)do not fit.*miner\.weights=hub"):
        Aliked(str(write_aliked(tmp_path)), "aliked-n32")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(BadInput, match="cannot read them safely"):
        Loftr(str(tmp_path / "text.pth"))


def test_safetensors_are_read(tmp_path: Path):
    from safetensors.torch import save_file

    state = torch.load(write_aliked(tmp_path), weights_only=True)
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "a.safetensors")
    assert not Aliked(str(tmp_path / "a.safetensors"), "aliked-t16").network.training
