"""export: what was found, for other programs. Each format has a folder of its own, with README.txt beside its files:

splats/splats.ply, concepts.ply       Gaussian splats in the chosen light, and coloured by concept
points/points.ply                     colours, normals, probabilities, confidence
mesh/mesh.glb                         a surface, and each concept's part of it
colmap/sparse/0, colmap/images        cameras, points, photos
nerfstudio/transforms.json, images    the same for nerfstudio
masks/probability, binary, coco.json  where each concept is in each photo
depth/arrays, pictures                how far away each pixel is
<format>/contents.json                how much there is; attribution.csv: whose photos they were
export.json                           frame, light, concepts and formats
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from halonerf.errors import BadInput
from halonerf.expressions import given_texts, read_texts
from halonerf.files import write_json
from halonerf.loading import fitted_scene, open_field
from halonerf.pipeline.stage import Stage
from halonerf.rendering.appearance import OWN, resolve_appearance
from halonerf.rendering.tiles import render_frame
from halonerf.stages.export.contents import ExportContents, ExtraTexts
from halonerf.stages.export.formats.colmap import write_colmap
from halonerf.stages.export.formats.depth import depth_files, depth_unit, write_depth
from halonerf.stages.export.formats.images import image_files, write_image
from halonerf.stages.export.formats.masks import mask_files, write_coco, write_masks
from halonerf.stages.export.formats.mesh import write_mesh
from halonerf.stages.export.formats.nerfstudio import write_nerfstudio
from halonerf.stages.export.formats.points import write_points
from halonerf.stages.export.formats.splats import write_splats
from halonerf.stages.export.frame import ExportFrame
from halonerf.stages.export.readme import copy_licences, write_description, write_readme
from halonerf.stages.specs import ExportSpec

FORMATS = ("splats", "points", "mesh", "colmap", "nerfstudio", "masks", "depth")
BY_PHOTO = ("masks", "depth")
WITH_IMAGES = ("colmap", "nerfstudio", "masks")
CONTENTS = "contents.json"


class Export(ExportSpec, Stage):
    """Write files that other programs read.

    Args:
        field: config of the field that `reconstruct` fitted.
        head: config of the head that `localize` fitted.
        segmenter: config of the segmenter that `index` used, for words.
        formats: any of splats, points, mesh, colmap, nerfstudio, masks, depth.
        light: whose light splats, points and mesh have: "mean", an hour (day, dusk, night), a photo's name, or the
            path of an image file for a field that computes light from photos.
        frame: "world" (the scene's own) or "model" (the reconstruction's).
        concepts: which of the concepts of `localize`; null takes all.
        words: texts to look for besides, each a word or an expression of words.
        threshold: probability from which something counts as a concept.
        opacity: from which a splat is a point.
        voxels: of the mesh, along the longest side.
        memory_mb: MB that the mesh's voxels may take.
        sky, batch, adapted: of words, as `query` has them.
    """

    def __init__(
        self,
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        segmenter: Mapping[str, Any],
        formats: Sequence[str] = FORMATS,
        light: str = "mean",
        frame: str = "world",
        concepts: Sequence[str] | None = None,
        words: Sequence[str] | None = None,
        threshold: float = 0.5,
        opacity: float = 0.3,
        voxels: int = 256,
        memory_mb: float = 2000.0,
        sky: str | None = None,
        batch: int = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.formats = [formats] if isinstance(formats, str) else list(dict.fromkeys(formats))
        if not self.formats or set(self.formats) - set(FORMATS):
            got = ", ".join(self.formats) or "none"
            raise BadInput(f"expected export.formats among {', '.join(FORMATS)}, got {got}")
        if light == OWN:
            raise BadInput("expected one light for all, as export.light=mean or a photo's name, got 'own'")
        if not 0 < threshold <= 1 or not 0 <= opacity <= 1:
            got = f"{threshold} and {opacity}"
            raise BadInput(f"expected export.threshold in (0, 1] and export.opacity in [0, 1], got {got}")
        if voxels < 8:
            raise BadInput(f"expected export.voxels >= 8, got {voxels}")
        self.field_config, self.head_config, self.segmenter_config = field, head, segmenter
        self.light, self.frame_name, self.wanted = light, frame, concepts
        self.words = _texts(words)
        self.threshold, self.opacity, self.voxels, self.memory_mb = threshold, opacity, voxels, memory_mb
        self.sky, self.batch, self.adapted = sky, batch, adapted

    def prepare(self) -> None:
        self.field = open_field(self.field_config, self.inputs["reconstruct"])
        self.scene = fitted_scene(self.inputs)
        self.frame = ExportFrame.of(self.frame_name, self.scene)
        light = resolve_appearance(self.light, self.field, self.scene, "export.light")
        words = ExtraTexts(self.words, self.segmenter_config, self.field_config, self.sky, self.batch)
        self.material = ExportContents(self.inputs, self.field, self.scene, self.head_config, light, self.wanted, words)
        for kind in self.formats:
            (self.folder / kind).mkdir(exist_ok=True)

    def items(self) -> list[str]:
        photos = range(len(self.scene))
        images = ["images"] if set(self.formats) & set(WITH_IMAGES) else []
        by_photo = [*images, *(kind for kind in self.formats if kind in BY_PHOTO)]
        whole = [kind for kind in self.formats if kind not in BY_PHOTO]
        return [*whole, *(f"{kind} {i:05d}" for kind in by_photo for i in photos)]

    def done(self, item: str) -> bool:
        kind, _, number = item.partition(" ")
        files = self._files(kind, int(number)) if number else [self._contents(kind)]
        return all(path.is_file() for path in files)

    @torch.no_grad()
    def predict_step(self, item: str, index: int) -> None:
        kind, _, number = item.partition(" ")
        if number:
            {"images": self._image, "masks": self._masks, "depth": self._depth}[kind](int(number))
            return
        start = time.perf_counter()
        makers = {"splats": self._splats, "points": self._points, "mesh": self._mesh}
        makers |= {"colmap": self._colmap, "nerfstudio": self._nerfstudio}
        counts = makers[kind](self.folder / kind)
        write_json(self._contents(kind), {**counts, "seconds": round(time.perf_counter() - start, 2)})

    def finish(self) -> None:
        folders, concepts = [self.folder / kind for kind in self.formats], self.material.concepts
        if "masks" in self.formats:
            sizes = [(view.width, view.height) for view in self.scene.views]
            photos = zip(self.scene.names, sizes, strict=True)
            count = write_coco(self.folder / "masks", concepts.folders, concepts.names, photos)
            write_json(self._contents("masks"), {"photos": len(self.scene), "annotations": count})
        if "depth" in self.formats:
            write_json(self._contents("depth"), {"photos": len(self.scene), "unit": self._depth_unit()})
        facts = {
            "light": self._light_name(),
            "threshold": self.threshold,
            "concepts": concepts.describe(),
            "licences": copy_licences(self.inputs["collect"], [self.folder, *folders]),
        }
        for folder in folders:
            write_readme(folder, self.scene.name, folder.name, self.frame, facts)
        write_description(self.folder, self.scene, self.frame, facts | {"formats": self.summary()})

    def summary(self) -> dict[str, Any]:
        """Of each format, what it holds and its size in bytes."""
        return {
            kind: json.loads(self._contents(kind).read_text(encoding="utf-8"))
            | {"bytes": sum(p.stat().st_size for p in (self.folder / kind).rglob("*") if p.is_file())}
            for kind in self.formats
        }

    def _splats(self, folder: Path) -> dict[str, Any]:
        splats, colours = self.material.splats, self.material.colours
        moved, notes = self.frame.splats(splats), self._notes()
        count = write_splats(folder / "splats.ply", moved, colours, notes)
        painted = self.material.concepts.paint(splats, colours, self.threshold)
        write_splats(folder / "concepts.ply", moved, painted, notes)
        return {"splats": count}

    def _points(self, folder: Path) -> dict[str, Any]:
        count = write_points(
            folder / "points.ply", self.material.splats, self.material.colours, self.material.concepts,
            self.scene.views, self.frame, self.opacity, self._notes(),
        )  # fmt: skip
        return {"points": count}

    def _mesh(self, folder: Path) -> dict[str, Any]:
        faces = write_mesh(
            folder / "mesh.glb", self.material.splats, self.material.colours, self.material.concepts, self.scene.views,
            self.scene.points, self.frame, self.voxels, self.threshold, self.memory_mb,
        )  # fmt: skip
        return {"faces": faces}

    def _colmap(self, folder: Path) -> dict[str, Any]:
        (folder / "sparse" / "0").mkdir(parents=True, exist_ok=True)
        write_colmap(folder / "sparse" / "0", self.scene, self.frame)
        return {"photos": len(self.scene), "points": len(self.scene.points)}

    def _nerfstudio(self, folder: Path) -> dict[str, Any]:
        write_nerfstudio(folder, self.scene, self.frame)
        return {"photos": len(self.scene), "points": len(self.scene.points)}

    def _image(self, view: int) -> None:
        write_image(self._files("images", view), self.scene.photo(view).numpy())

    def _masks(self, view: int) -> None:
        maps = self.material.maps(view)
        write_masks(self.folder / "masks", self.material.concepts.folders, self.scene.names[view], maps, self.threshold)

    def _depth(self, view: int) -> None:
        shown = render_frame(self.field, self.scene.views[view].to(self.device), self.field.mean_appearance())
        depth = torch.where(shown.opacity > 0, shown.depth, 0.0).numpy() * self.frame.scale
        write_depth(self.folder / "depth", self.scene.names[view], depth, shown.opacity.numpy(), self._depth_unit())

    def _depth_unit(self) -> float:
        return depth_unit(self.scene.far, self.frame.scale)

    def _files(self, kind: str, view: int) -> list[Path]:
        """Everything that an item of one photo writes."""
        photo, folder = self.scene.names[view], self.folder / kind
        if kind == "images":
            return image_files([self.folder / kind for kind in self.formats if kind in WITH_IMAGES], photo)
        if kind == "depth":
            return list(depth_files(folder, photo))
        return [path for concept in self.material.concepts.folders for path in mask_files(folder, concept, photo)]

    def _contents(self, kind: str) -> Path:
        return self.folder / kind / CONTENTS

    def _notes(self) -> list[str]:
        return [f"{self.scene.name}, exported by HaloNeRF", f"frame {self.frame.name}, light {self._light_name()}"]

    def _light_name(self) -> str:
        """Without the place of an image file, which is nobody's business."""
        return self.light if self.light in self.scene.names else Path(self.light).name


def _texts(words: Any) -> list[str]:
    """Raises: BadInput for a text that means nothing: known before hours of work."""
    given = given_texts(words)
    return read_texts(given)[0] if given else []
