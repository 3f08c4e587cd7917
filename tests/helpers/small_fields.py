"""Every field option at a size that a test can afford."""

from __future__ import annotations

import torch
from omegaconf import OmegaConf

from halonerf.factory import build
from halonerf.protocols import TrainableField
from halonerf.types import View
from helpers.places import CONF

GROUP = CONF / "field"
OPTIONS = sorted(path.stem for path in GROUP.glob("*.yaml"))
TINY = {
    "gaussians": {"budget": 120, "grow_every": 5},
    "ha_nerf": {
        "width": 32,
        "depth": 5,
        "position_frequencies": 4,
        "samples": 12,
        "render_samples": 16,
        "rays": 64,
        "grid_side": 8,
        "learning_rate": 5e-3,
    },
}
NAMES = ("a.jpg", "b.jpg", "sub/c.jpg")


def make(option: str) -> TrainableField:
    assert option in TINY, f"name a tiny offline instance of field '{option}' here"
    return build({**OmegaConf.to_container(OmegaConf.load(GROUP / f"{option}.yaml")), **TINY[option]})


def view(width: int = 37, height: int = 26) -> View:
    pose = torch.eye(3, 4)
    pose[2, 3] = -2.5
    return View(width, height, 40.0, 40.0, width / 2, height / 2, pose)
