"""export: field, concepts and cameras as files for other programs. Each format has a folder, with README.txt:

splats/splats.ply, concepts.ply       Gaussian splats in the chosen light, and coloured by concept
points/points.ply                     colours, normals, probabilities, confidence
mesh/mesh.glb                         a surface, and each concept's part of it
colmap/sparse/0, colmap/images        cameras, points, photos
nerfstudio/transforms.json, images    the same for nerfstudio
masks/probability, binary, coco.json  where each concept is in each photo
depth/arrays, pictures                depth of each pixel
<format>/contents.json                facts such as counts; attribution.csv: authors and licences of the photos
export.json                           frame, light, concepts and formats
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from annotated_types import Interval, MinLen

from halonerf.config.option_types import Component, Fraction, PositiveFloat, PositiveFraction, PositiveInt, Text
from halonerf.errors import BadInput
from halonerf.expressions import given_texts, read_texts
from halonerf.files import write_json
from halonerf.loading import fitted_scene, open_field
from halonerf.pipeline.stage import Stage
from halonerf.rendering.appearance import OWN, resolve_appearance
from halonerf.stages.export.contents import ExportContents, ExportOptions, ExtraTexts
from halonerf.stages.export.formats import FORMATS, Format, PhotoFormat
from halonerf.stages.export.formats.base import FormatName
from halonerf.stages.export.frame import ExportFrame
from halonerf.stages.export.images import image_files, write_image
from halonerf.stages.export.readme import copy_licences, write_description, write_readme
from halonerf.stages.specs import ExportSpec

EVERY_FORMAT: tuple[FormatName, ...] = get_args(FormatName)
IMAGES = "images"  # the item that writes a photo for all formats that want photos
CONTENTS = "contents.json"


class Export(ExportSpec, Stage):
    """Write files that other programs read.

    Args:
        field: config of the field that `reconstruct` fitted.
        head: config of the head that `localize` fitted.
        segmenter: config of the segmenter that `index` used, for words.
        formats: names in `halonerf.stages.export.formats.FORMATS`.
        light: of splats, points and mesh: "mean", a time of day (day, dusk, night), a photo's name, or the path of an
            image file for a field that computes appearance codes from photos.
        frame: "world" (the scene's) or "model" (the reconstruction's).
        concepts: which of the concepts of `localize`; None: all.
        words: text prompts besides, each a word or an expression of words.
        threshold: probability from which something counts as a concept; None: each concept's own
            (`halonerf.thresholds`).
        opacity: from which a splat is a point.
        voxels: of the mesh, along its longest side.
        memory_mb: MB that the mesh's voxels may take.
        sky, batch, adapted: for words, as in `query`.
    """

    def __init__(
        self,
        field: Component,
        head: Component,
        segmenter: Component,
        formats: FormatName | Annotated[Sequence[FormatName], MinLen(1)] = EVERY_FORMAT,
        light: Text = "mean",
        frame: Literal["world", "model"] = "world",
        concepts: Sequence[str] | None = None,
        words: Sequence[str] | None = None,
        threshold: PositiveFraction | None = None,
        opacity: Fraction = 0.3,
        voxels: Annotated[int, Interval(ge=8, le=65535)] = 256,
        memory_mb: PositiveFloat = 2000.0,
        sky: str | None = None,
        batch: PositiveInt = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        names = [formats] if isinstance(formats, str) else list(dict.fromkeys(formats))
        if light == OWN:
            raise BadInput("expected one light for all, as export.light=mean or a photo's name, got 'own'")
        self.formats: dict[str, Format] = {name: FORMATS[name] for name in names}
        self.field_config, self.head_config, self.segmenter_config = field, head, segmenter
        self.light, self.frame_name, self.wanted = light, frame, concepts
        self.words = _texts(words)
        self.options = ExportOptions(threshold, opacity, voxels, memory_mb)
        self.sky, self.batch, self.adapted = sky, batch, adapted

    def prepare(self) -> None:
        field = open_field(self.field_config, self.inputs["reconstruct"])
        self.scene = fitted_scene(self.inputs)
        light = resolve_appearance(self.light, field, self.scene, "export.light")
        self.contents = ExportContents(
            self.inputs,
            field,
            self.scene,
            ExportFrame.of(self.frame_name, self.scene),
            self.head_config,
            light,
            self._light_name(),
            self.wanted,
            ExtraTexts(self.words, self.segmenter_config, self.field_config, self.sky, self.batch),
            self.options,
        )
        for name in self.formats:
            (self.folder / name).mkdir(exist_ok=True)

    def items(self) -> list[str]:
        """Formats, then photos as images, then photos of each format: "splats", "images 00000", "masks 00000"."""
        images = [IMAGES] if self._image_folders() else []
        by_photo = [*images, *(name for name, kind in self.formats.items() if isinstance(kind, PhotoFormat))]
        whole = [name for name, kind in self.formats.items() if not isinstance(kind, PhotoFormat)]
        return [*whole, *(f"{name} {i:05d}" for name in by_photo for i in range(len(self.scene)))]

    def done(self, item: str) -> bool:
        name, _, number = item.partition(" ")
        if not number:
            return self._facts_path(name).is_file()
        if name == IMAGES:
            files = image_files(self._image_folders(), self.scene.names[int(number)])
        else:
            files = self._photo_format(name).files(self.contents, self.folder / name, int(number))
        return all(path.is_file() for path in files)

    @torch.no_grad()
    def predict_step(self, item: str, index: int) -> None:
        name, _, number = item.partition(" ")
        if name == IMAGES:
            view = int(number)
            files = image_files(self._image_folders(), self.scene.names[view])
            write_image(files, self.scene.photo(view).numpy())
        elif number:
            self._photo_format(name).write_photo(self.contents, self.folder / name, int(number))
        else:
            start = time.perf_counter()
            facts = self.formats[name].write(self.contents, self.folder / name)
            write_json(self._facts_path(name), {**facts, "seconds": round(time.perf_counter() - start, 2)})

    def finish(self) -> None:
        """Write what follows the last photo, and the descriptions."""
        for name, kind in self.formats.items():
            if isinstance(kind, PhotoFormat):
                write_json(self._facts_path(name), kind.write(self.contents, self.folder / name))
        frame = self.contents.frame
        facts = {
            "light": self.contents.light_name,
            "concepts": [
                {**entry, "threshold": round(threshold, 5)}
                for entry, threshold in zip(self.contents.concepts.describe(), self.contents.thresholds, strict=True)
            ],
            "licences": copy_licences(self.inputs["collect"], [self.folder, *map(self.folder.joinpath, self.formats)]),
        }
        for kind in self.formats.values():
            write_readme(self.folder / kind.name, self.scene.name, kind, frame, facts)
        write_description(self.folder, self.scene, frame, facts | {"formats": self.summary()})

    def summary(self) -> dict[str, Any]:
        """Facts about each format, with its size in bytes."""
        return {
            name: json.loads(self._facts_path(name).read_text(encoding="utf-8"))
            | {"bytes": sum(p.stat().st_size for p in (self.folder / name).rglob("*") if p.is_file())}
            for name in self.formats
        }

    def _image_folders(self) -> list[Path]:
        return [self.folder / name for name, kind in self.formats.items() if kind.wants_images]

    def _photo_format(self, name: str) -> PhotoFormat:
        kind: Format = self.formats[name]
        assert isinstance(kind, PhotoFormat)
        return kind

    def _facts_path(self, name: str) -> Path:
        return self.folder / name / CONTENTS

    def _light_name(self) -> str:
        """The light's name; of an image file the name without its folder, so that no local path is published."""
        return self.light if self.light in self.scene.names else Path(self.light).name


def _texts(words: Any) -> list[str]:
    """The normalised texts. Raises: BadInput for a malformed expression, before any stage runs."""
    given = given_texts(words)
    return read_texts(given)[0] if given else []
