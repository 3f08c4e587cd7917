"""Made-up folders for `render`: photos in very different light, words that the head knows and words of the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from halonerf.data.scene.scene import Scene
from halonerf.fields.gaussians.field import Gaussians
from halonerf.files import write_json
from halonerf.heads.lifted import Lifted
from halonerf.stages.index.stage import Index
from halonerf.stages.render.stage import Render
from helpers.made_folders import run_stage, write_folders
from helpers.made_query import FIELD as PLAIN_FIELD
from helpers.made_query import HEAD, SEGMENTER, write_query_folders

CODE = 4
FIELD: dict[str, Any] = {"_target_": "halonerf.fields.Gaussians", "code_size": CODE}


class Mirror(Gaussians):
    """Gaussians whose light is computed from a photo: its mean colour, and nothing else."""

    encodes = True

    def encode(self, photo: torch.Tensor) -> torch.Tensor:
        assert photo.max() <= 1
        assert max(photo.shape[:2]) <= 64
        return torch.cat([photo.mean(dim=(0, 1)), photo.new_zeros(CODE - 3)])


def write_render_folders(root: Path) -> dict[str, Path]:
    """Folders up to `localize`, with a field whose photos were taken in very different light."""
    folders = write_folders(root)
    scene = Scene(folders["ingest"])
    field = Gaussians(code_size=CODE)
    field.initialise(scene.points, scene.colours, [n for i, n in enumerate(scene.names) if i], seed=0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        field.codes.table.copy_(3 * torch.randn(field.codes.table.shape, generator=random))
        field.opacity_logits += 4
        field.log_scales += 0.5
        for parameter in field.appearance_model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=random)
    field.save(folders["reconstruct"] / "field.safetensors")
    head = Lifted()
    views = [v.cropped(0, 0, v.width, v.height) for v in scene.views]
    maps = [torch.rand(v.height, v.width, 2, generator=random) for v in views]
    head.fit(field, views, maps, [torch.ones_like(m) for m in maps])
    head.save(folders["localize"] / "head.safetensors")
    return folders


def write_words_folders(root: Path) -> dict[str, Path]:
    """Folders up to `index`, whose segmenter knows red, green and blue; `localize` knows "portal", at half of all."""
    folders = write_query_folders(root)
    scene, field = Scene(folders["ingest"]), Gaussians()
    field.load(folders["reconstruct"] / "field.safetensors")
    maps = [torch.zeros(v.height, v.width, 1) for v in scene.views]
    for i, view in enumerate(scene.views):
        left = field.element_centres()[:, 0] < 0
        shown = field.render(view, field.mean_appearance(), left.float()[:, None]).channels
        assert shown is not None
        maps[i] = (shown.detach() > 0.2).float()
    head = Lifted()
    head.fit(field, scene.views, maps, [torch.ones_like(m) for m in maps])
    folders["localize"] = root / "localize"
    folders["localize"].mkdir()
    head.save(folders["localize"] / "head.safetensors")
    write_json(folders["localize"] / "concepts.json", ["portal"])
    run_stage(Index(SEGMENTER, PLAIN_FIELD, max_photos=3, map_size=32), root / "index", folders)
    return {**folders, "index": root / "index"}


def rendered(folders: dict[str, Path], out: Path, field: dict[str, Any] = FIELD, **options: Any) -> Path:
    """The folder of a finished `render`."""
    render(folders, out, field, **options).finish()
    return out


def render(
    folders: dict[str, Path], out: Path, field: dict[str, Any] = FIELD, most: int | None = None, **options: Any
) -> Render:
    """`render` after `most` more items of its work; it is given the folders that it requires, and no others."""
    stage = Render(field, HEAD, SEGMENTER, **options)
    needed = stage.requires({"path": None, **options})
    out.mkdir(exist_ok=True)
    stage.bind(out, {name: folders[name] for name in needed}, 0)
    stage.prepare()
    for index, item in enumerate([item for item in stage.items() if not stage.done(item)][:most]):
        stage.predict_step(item, index)
    return stage


def frames_of(path: Path) -> np.ndarray:
    """Every frame of a video, float [T, H, W, 3] in [0, 255]."""
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(float)


def picture(path: Path) -> np.ndarray:
    """Its pixels, [H, W, 3]."""
    return np.asarray(Image.open(path).convert("RGB")).astype(int)
