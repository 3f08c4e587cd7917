"""render: pictures of every view, for people, and films: of one view through changing light, or along a camera path.

Output: colour/, depth/, normals/ and a folder a concept under concepts/, each with <view>.png; sheet.jpg shows them
together; light.mp4 (or .webm, .gif, or the folder light/) is the video. With a path, instead of all that: film.mp4 (or
.webm, .gif, or the folder film/), film.jpg with some of its frames, and path.json, the path that it followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from halonerf.camera_paths.path import LightName, Sample
from halonerf.data.formats.probability_maps import read_concepts
from halonerf.errors import BadInput
from halonerf.files import safe_name
from halonerf.loading import fitted_scene, open_field, open_head
from halonerf.pipeline.stage import Stage
from halonerf.queries.session import QuerySession
from halonerf.queries.word_layers import WordLayers
from halonerf.rendering.film_frames import COMPARISONS, FrameRenderer
from halonerf.rendering.lights import appearance_code, resolve_light
from halonerf.rendering.tiles import FIXED, render_frame, view_tiles
from halonerf.stages.render.film import KINDS, Film, read_picture
from halonerf.stages.render.film_path import against_light, film_path, film_size, light_path, path_texts
from halonerf.types import Rendering, View
from halonerf.visualization.palette import concept_colours
from halonerf.visualization.pictures import depth_colours, grid, overlay, save_picture, to_uint8

SHEET_ROWS = 12


class Render(Stage):
    """Draw the photos' views: colour, depth, and where each concept is; or a film.

    Args:
        field: config of the field that `reconstruct` fitted.
        head: config of the head that `localize` fitted.
        segmenter: config of the segmenter that `index` used, for words of a film that `localize` does not know.
        light: whose light to show: "own" of each photo, "mean" of all, a photo's name, an hour (day, dusk, night), the
            path of an image file for a field that computes light from photos, a code, or a mix of names with weights.
            Of a film, "own" leaves each key-frame its own.
        views: "all" photos' views, or those of the "train" or "test" split; a ready path is made from them.
        size: px, the longer side of the pictures; null keeps the scene's working size.
        concepts: which concepts to draw; null draws all. Of a film: what key-frames light up that have no words.
        normals: whether to draw the surfaces' normals.
        memory_mb: MB that drawing a part of a frame may take; larger frames are drawn in parts.
        path: the camera path of a film: "fly_through", "orbit", "spiral", or a file; null makes pictures instead.
        film: "mp4", "webm", "gif", or "frames" for numbered pictures.
        compare: "side" shows two films beside each other, "wipe" one over the other; null shows one.
        against: the second one's light, by name, as a code or a mix; null: the same without words.
        video: lights that a video passes through, two or more, each as in `light`; null makes none.
        video_view: name of the photo whose view the video shows; null takes the first of `views`.
        seconds: how long the video is, or a film along a ready path.
        fps: frames a second, of films, too.
        sky, batch, adapted: as of `query`, for words that are looked up in the index.
    """

    name = "render"
    needs = ("ingest", "reconstruct", "localize")
    seeded = True

    def __init__(
        self,
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        segmenter: Mapping[str, Any],
        light: LightName = "own",
        views: str = "all",
        size: int | None = None,
        concepts: Sequence[str] | None = None,
        normals: bool = False,
        memory_mb: float = 512.0,
        path: str | None = None,
        film: str = "mp4",
        compare: str | None = None,
        against: LightName | None = None,
        video: Sequence[LightName] | None = None,
        video_view: str | None = None,
        seconds: float = 10.0,
        fps: float = 25.0,
        sky: str | None = None,
        batch: int = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        for option, given, known in (
            ("views", views, ("all", "train", "test")),
            ("film", film, KINDS),
            ("compare", compare, (None, *COMPARISONS)),
        ):
            if given not in known:
                names = ", ".join("null" if name is None else name for name in known)
                raise BadInput(f"expected render.{option} among {names}; got '{given}'")
        if size is not None and size < 16:
            raise BadInput(f"expected render.size to be at least 16 px, got {size}")
        if video is not None and (isinstance(video, str) or len(video) < 2):
            raise BadInput(f"expected two or more lights for a video, as render.video=[mean,PHOTO], got {video}")
        if fps <= 0 or seconds * fps < 2:
            raise BadInput(f"expected a video of two frames or more, got {seconds} s at {fps} a second")
        if (path is None and (compare or against is not None)) or (against is not None and not compare):
            raise BadInput("expected render.compare only with path=…, and render.against only with render.compare")
        if path is not None and (video is not None or normals):
            raise BadInput("expected either path=… or render.video and render.normals, got both: films have their own")
        self.field_config, self.head_config, self.segmenter_config = field, head, segmenter
        self.light, self.views, self.size, self.wanted = light, views, size, concepts
        self.normals, self.memory_mb = normals, memory_mb
        self.path, self.kind, self.compare, self.against = path, film, compare, against
        self.video, self.video_view, self.seconds, self.fps = video, video_view, seconds, fps
        self.sky, self.batch, self.adapted = sky, batch, adapted

    @classmethod
    def requires(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        if config.get("path") is None:
            return cls.needs
        texts = path_texts(config["path"], config.get("concepts"))
        if config.get("compare") and config.get("against") is None and not texts:
            raise BadInput(
                "expected words to compare with and without, as render.concepts=[portal], or another light, as "
                "render.against=night; got neither"
            )
        if not texts:
            return ("ingest", "reconstruct")
        return (*cls.needs, "index", *(["adapt_segmenter"] if config.get("adapted") else []))

    def prepare(self) -> None:
        self.scene = fitted_scene(self.inputs)
        self.field = open_field(self.field_config, self.inputs["reconstruct"])
        self.known: list[str] = []
        if "localize" in self.inputs:
            self.known = read_concepts(self.inputs["localize"])
            self.head = open_head(self.head_config, self.inputs["localize"])
        self.film = self._film() if self.path is not None else self._light_film(self.video) if self.video else None
        if self.path is not None:
            return
        self.shown = list(self.wanted) if self.wanted is not None else self.known
        unknown = [c for c in self.shown if c not in self.known]
        if unknown:
            raise BadInput(f"expected render.concepts among {', '.join(self.known)}; got {', '.join(unknown)}")
        self.light = resolve_light(self.light, self.field, self.scene, "render.light")
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
            self.film.work(item[1])
            return
        view, appearance = self._view(item), appearance_code(self.light, self.field, self.scene, item)
        shown = self._draw(view, appearance, self.normals)
        colour = to_uint8(shown.colour)
        pictures = {"colour": colour, "depth": depth_colours(shown.depth.numpy(), shown.opacity.numpy())}
        if shown.normals is not None:
            pictures["normals"] = to_uint8(0.5 + 0.5 * shown.normals)
        if self.shown:
            for concept, probability in zip(self.shown, self._probabilities(view, appearance), strict=True):
                pictures[f"concepts/{concept}"] = overlay(colour, probability.astype(np.float32))
        for key, path in self._paths(item).items():
            save_picture(path, pictures[key])

    def finish(self) -> None:
        items = self._views() if self.path is None else []
        chosen = items[:: max(1, len(items) // SHEET_ROWS)][:SHEET_ROWS]
        rows = [[self.scene.photo(i).numpy(), *(read_picture(p) for p in self._paths(i).values())] for i in chosen]
        if rows:
            save_picture(self.folder / "sheet.jpg", grid(rows))

    def summary(self) -> dict[str, Any]:
        frames = len(self.film.samples) if self.film else 0
        if self.path is None:
            views, concepts = len(self._views()), len(self.shown)
            return {"views": views, "concepts": concepts, "light": self.light, "video_frames": frames}
        words, notes = (self.maps.texts, self.maps.notes) if self.maps else ([], [])
        return {"film_frames": frames, "words": words, "light": self.light, "notes": notes}

    def _views(self) -> list[int]:
        return list(range(len(self.scene))) if self.views == "all" else self.scene.indices(self.views)

    def _view(self, index: int) -> View:
        """A photo's camera at the size that is asked for, where the field is."""
        view = self.scene.views[index]
        if self.size is not None:
            view = view.with_long_side(self.size)
        return view.to(self.device)

    def _draw(self, view: View, appearance: Tensor, normals: bool = False) -> Rendering:
        return render_frame(self.field, view, appearance, normals=normals, memory_mb=self.memory_mb)

    def _probabilities(self, view: View, appearance: Tensor) -> np.ndarray:
        """Of the concepts that are shown, float16 [concepts, H, W]."""
        chosen = [self.known.index(concept) for concept in self.shown]
        frame = np.empty((len(chosen), view.height, view.width), np.float16)
        for part, (rows, columns) in view_tiles(view, FIXED + 2 * len(self.known), self.memory_mb):
            probability, _ = self.head.render(self.field, part, appearance)
            frame[:, rows, columns] = probability[..., chosen].permute(2, 0, 1).cpu().numpy()
        return frame

    def _film(self) -> Film:
        """Along the path that was asked for, which is kept beside it."""
        hours: dict[str, str] = {}
        given = (self.scene, self._views(), self.field, self.light, self.wanted, self.seconds, hours)
        path = film_path(str(self.path), *given)
        path.write(self.folder / "path.json")
        width, height = film_size(path.aspect, self.size or max(max(v.width, v.height) for v in self.scene.views))
        texts = path.words()
        self.maps = WordLayers(self.field, self.head, self.known, texts, self._query, self.memory_mb) if texts else None
        other = against_light(self.against, self.field, self.scene, hours)
        titles = {photo: hour for hour, photo in hours.items()}
        shown = (concept_colours(texts, self.known), self.memory_mb, self.compare, other, path.duration, titles)
        drawing = FrameRenderer(self.field, self.scene, self.maps, *shown)

        def draw(sample: Sample) -> np.ndarray:
            return drawing.picture(sample, sample.view(width, height).to(self.device))

        return Film(self.folder, "film", path.sample(self.fps), draw, self.fps, self.kind)

    def _light_film(self, lights: Sequence[LightName]) -> Film:
        """One photo's view while the light changes; "own" is that photo's."""
        given = (self.video_view, self._views(), self.scene, self.field, lights, self.seconds)
        index, path = light_path(*given)
        drawing = FrameRenderer(self.field, self.scene, None, {}, self.memory_mb)

        def draw(sample: Sample) -> np.ndarray:
            return drawing.picture(sample, self._view(index), index)

        return Film(self.folder, "light", path.sample(self.fps), draw, self.fps, self.kind)

    def _query(self) -> QuerySession:
        configs = (self.segmenter_config, self.field_config, self.head_config)
        return QuerySession(self.inputs, *configs, self.sky, self.batch, self.device)

    def _paths(self, item: int) -> dict[str, Path]:
        """Where each picture of a view goes, by what it shows."""
        folders = {"colour": "colour", "depth": "depth"} | ({"normals": "normals"} if self.normals else {})
        folders |= {f"concepts/{c}": f"concepts/{safe_name(c)}" for c in self.shown}
        return {key: self.folder / folder / f"{item:05d}.png" for key, folder in folders.items()}
