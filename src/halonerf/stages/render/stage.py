"""render: pictures of every view, and films: of one view through several appearances, or along a camera path.

Output: colour/, depth/, normals/ and one folder per concept under concepts/, each with <view>.png; sheet.jpg, an
overview of them; light.mp4 (or .webm, .gif, or the folder light/), the video of one view. With a camera path, instead:
film.mp4 (or .webm, .gif, or the folder film/), film.jpg with some of its frames, and path.json, the path of the film.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import MinLen
from torch import Tensor

from halonerf.camera_paths.path import AppearanceSpec, Sample
from halonerf.config.option_types import Component, Pixels, PositiveFloat, PositiveInt
from halonerf.data.formats.probability_maps import read_concepts
from halonerf.errors import BadInput
from halonerf.files import safe_name
from halonerf.loading import fitted_scene, open_field, open_head
from halonerf.pipeline.stage import Stage
from halonerf.queries.session import QuerySession
from halonerf.queries.word_layers import WordLayers
from halonerf.rendering.appearance import appearance_code, resolve_appearance
from halonerf.rendering.film_frames import FrameRenderer
from halonerf.rendering.tiles import render_frame
from halonerf.stages.render.film import Film, read_picture
from halonerf.stages.render.film_path import comparison_mix, film_path, film_size, still_path
from halonerf.stages.specs import RenderSpec
from halonerf.types import View
from halonerf.visualization.palette import concept_colours
from halonerf.visualization.pictures import depth_colours, grid, overlay, save_picture, to_uint8

MAX_SHEET_ROWS = 12


class Render(RenderSpec, Stage):
    """Render the photos' views (colour, depth, normals, concepts) or a film.

    Args:
        field: config of the field that `reconstruct` fitted.
        head: config of the head that `localize` fitted.
        segmenter: config of the segmenter that `index` used, for words of a film that are not localized concepts.
        light: the appearance: each photo's "own", the "mean", a photo's name, a time of day (day, dusk, night), the
            path of an image file for a field that encodes photos, an appearance code, or a mix of names with weights.
            In a film, "own" leaves each key-frame its own.
        views: "all" photos' views, or those of the "train" or "test" split; presets of paths are computed from them.
        size: px, the longer side of the pictures; None: the scene's working size.
        concepts: to render; None: all. In a film: those that key-frames without words highlight; None: none.
        normals: whether to render surface normals.
        memory_mb: MB that rendering a part of a frame may take; larger frames are rendered in parts.
        path: the camera path of a film: "fly_through", "orbit", "spiral", or a file; None: pictures instead of a film.
        film: "mp4", "webm", "gif", or "frames" for numbered pictures.
        compare: "side" for two films side by side, "wipe" for a moving line between them; None: a single film.
        against: appearance of the second film: a name, a code or a mix; None: the same appearance without words.
        video: two or more appearances that a video of one view passes through, each as in `light`; None: no video.
        video_view: name of the photo whose view the video shows; None: the first of `views`.
        seconds: duration of the video, and of a film along a preset path.
        fps: frames per second of video and film.
        sky, batch, adapted: as in `Query`, for words that are looked up in the index.
    """

    def __init__(
        self,
        field: Component,
        head: Component,
        segmenter: Component,
        light: AppearanceSpec = "own",
        views: Literal["all", "train", "test"] = "all",
        size: Pixels | None = None,
        concepts: Sequence[str] | None = None,
        normals: bool = False,
        memory_mb: PositiveFloat = 512.0,
        path: str | None = None,
        film: Literal["mp4", "webm", "gif", "frames"] = "mp4",
        compare: Literal["side", "wipe"] | None = None,
        against: AppearanceSpec | None = None,
        video: Annotated[Sequence[AppearanceSpec], MinLen(2)] | None = None,
        video_view: str | None = None,
        seconds: PositiveFloat = 10.0,
        fps: PositiveFloat = 25.0,
        sky: str | None = None,
        batch: PositiveInt = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        if seconds * fps < 2:
            raise BadInput(f"expected a video of two frames or more, got {seconds} s at {fps} frames per second")
        if (path is None and (compare or against is not None)) or (against is not None and not compare):
            raise BadInput("expected render.compare only with path=…, and render.against only with render.compare")
        if path is not None and (video is not None or normals):
            raise BadInput("expected either path=… or render.video and render.normals, got both")
        self.field_config, self.head_config, self.segmenter_config = field, head, segmenter
        self.light, self.views, self.size, self.wanted = light, views, size, concepts
        self.normals, self.memory_mb = normals, memory_mb
        self.path, self.film_format, self.compare, self.against = path, film, compare, against
        self.video, self.video_view, self.seconds, self.fps = video, video_view, seconds, fps
        self.sky, self.batch, self.adapted = sky, batch, adapted

    def prepare(self) -> None:
        self.scene = fitted_scene(self.inputs)
        self.field = open_field(self.field_config, self.inputs["reconstruct"])
        self.localized: list[str] = []
        self.layers: WordLayers | None = None
        if "localize" in self.inputs:
            self.localized = read_concepts(self.inputs["localize"])
            self.head = open_head(self.head_config, self.inputs["localize"])
        self.film = self._path_film() if self.path is not None else self._still_film(self.video) if self.video else None
        if self.path is not None:
            return
        self.concepts = list(self.wanted) if self.wanted is not None else self.localized
        unknown = [c for c in self.concepts if c not in self.localized]
        if unknown:
            raise BadInput(f"expected render.concepts among {', '.join(self.localized)}; got {', '.join(unknown)}")
        self.layers = WordLayers(self.head, self.localized, self.concepts, self._open_session)
        self.light = resolve_appearance(self.light, self.field, self.scene, "render.light")
        for path in self._paths(0).values():
            path.parent.mkdir(parents=True, exist_ok=True)

    def items(self) -> list[Any]:
        return [*(self._views() if self.path is None else []), *(self.film.items() if self.film else [])]

    def done(self, item: Any) -> bool:
        if isinstance(item, int):
            return all(path.is_file() for path in self._paths(item).values())
        assert self.film is not None
        return self.film.done(item[1])

    def predict_step(self, item: Any, index: int) -> None:
        if not isinstance(item, int):
            assert self.film is not None
            self.film.process(item[1])
            return
        view, appearance = self._view(item), appearance_code(self.light, self.field, self.scene, item)
        rendering = render_frame(self.field, view, appearance, normals=self.normals, memory_mb=self.memory_mb)
        colour = to_uint8(rendering.colour)
        pictures = {"colour": colour, "depth": depth_colours(rendering.depth.numpy(), rendering.opacity.numpy())}
        if rendering.normals is not None:
            pictures["normals"] = to_uint8(0.5 + 0.5 * rendering.normals)
        if self.concepts:
            maps = self._word_maps(view, appearance, self.concepts)
            for concept, probability in zip(self.concepts, maps.half().float().permute(2, 0, 1).numpy(), strict=True):
                pictures[f"concepts/{concept}"] = overlay(colour, probability)
        for key, path in self._paths(item).items():
            save_picture(path, pictures[key])

    def finish(self) -> None:
        items = self._views() if self.path is None else []
        chosen = items[:: max(1, len(items) // MAX_SHEET_ROWS)][:MAX_SHEET_ROWS]
        rows = [[self.scene.photo(i).numpy(), *(read_picture(p) for p in self._paths(i).values())] for i in chosen]
        if rows:
            save_picture(self.folder / "sheet.jpg", grid(rows))

    def summary(self) -> dict[str, Any]:
        frames = len(self.film.samples) if self.film else 0
        if self.path is None:
            views, concepts = len(self._views()), len(self.concepts)
            return {"views": views, "concepts": concepts, "light": self.light, "video_frames": frames}
        words, notes = (self.layers.texts, self.layers.notes) if self.layers is not None else ([], [])
        return {"film_frames": frames, "words": words, "light": self.light, "notes": notes}

    def _views(self) -> list[int]:
        return list(range(len(self.scene))) if self.views == "all" else self.scene.indices(self.views)

    def _view(self, index: int) -> View:
        """A photo's camera at the size of the pictures, on the field's device."""
        view = self.scene.views[index]
        if self.size is not None:
            view = view.with_long_side(self.size)
        return view.to(self.device)

    def _path_film(self) -> Film:
        """The film along the camera path, which is written beside it."""
        times_of_day: dict[str, str] = {}
        path = film_path(
            str(self.path), self.scene, self._views(), self.field, self.light, self.wanted, self.seconds, times_of_day
        )
        path.write(self.folder / "path.json")
        width, height = film_size(path.aspect, self.size or max(max(v.width, v.height) for v in self.scene.views))
        texts = path.words()
        self.layers = WordLayers(self.head, self.localized, texts, self._open_session) if texts else None
        renderer = FrameRenderer(
            self.field,
            self.scene,
            self._word_maps if texts else None,
            concept_colours(texts, self.localized),
            self._thresholds(),
            self.memory_mb,
            self.compare,
            comparison_mix(self.against, self.field, self.scene, times_of_day),
            path.duration,
            {photo: time for time, photo in times_of_day.items()},
        )

        def draw(sample: Sample) -> np.ndarray:
            return renderer.render(sample, sample.view(width, height).to(self.device))

        return Film(self.folder, "film", path.sample(self.fps), draw, self.fps, self.film_format)

    def _still_film(self, lights: Sequence[AppearanceSpec]) -> Film:
        """The video of one photo's view through several appearances; "own" is that photo's."""
        index, path = still_path(self.video_view, self._views(), self.scene, self.field, lights, self.seconds)
        renderer = FrameRenderer(self.field, self.scene, None, {}, {}, self.memory_mb)

        def draw(sample: Sample) -> np.ndarray:
            return renderer.render(sample, self._view(index), index)

        return Film(self.folder, "light", path.sample(self.fps), draw, self.fps, self.film_format)

    def _word_maps(self, view: View, appearance: Tensor, texts: Sequence[str]) -> Tensor:
        assert self.layers is not None
        return self.layers.render(self.field, view, appearance, texts, self.memory_mb)

    def _thresholds(self) -> dict[str, float]:
        """The own threshold of each text."""
        if self.layers is None:
            return {}
        return {text: found.threshold for text, found in zip(self.layers.texts, self.layers.decisions, strict=True)}

    def _open_session(self) -> QuerySession:
        configs = (self.segmenter_config, self.field_config, self.head_config)
        return QuerySession(self.inputs, *configs, self.sky, self.batch, self.device)

    def _paths(self, item: int) -> dict[str, Path]:
        """The files of a view's pictures, by their kind."""
        folders = {"colour": "colour", "depth": "depth"} | ({"normals": "normals"} if self.normals else {})
        folders |= {f"concepts/{c}": f"concepts/{safe_name(c)}" for c in self.concepts}
        return {key: self.folder / folder / f"{item:05d}.png" for key, folder in folders.items()}
