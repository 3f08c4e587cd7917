"""explore: a window on the landmark, until it is closed.

What people keep there goes to `pictures/`, `films/` and `paths/` of its folder.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from halonerf.expressions import given_texts
from halonerf.factory import build
from halonerf.pipeline.stage import Stage
from halonerf.queries.session import QuerySession
from halonerf.stages.specs import ExploreSpec


class Explore(ExploreSpec, Stage):
    """Opens the scene for words and hands it to a viewer.

    Args:
        viewer: config of the viewer (`halonerf.protocols.Viewer`).
        segmenter, field, head: configs of the segmenter and field that `index` used, and of a head that lifts.
        words: found in every new window: one text or several.
        sky: what the sky is called; where it is, words are not. None does not ask.
        batch: photos decoded together.
        adapted: whether the segmenter is taken as `adapt_segmenter` left it.
    """

    def __init__(
        self,
        viewer: Mapping[str, Any],
        segmenter: Mapping[str, Any],
        field: Mapping[str, Any],
        head: Mapping[str, Any],
        words: str | Sequence[str] | None = None,
        sky: str | None = None,
        batch: int = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.viewer_config = viewer
        self.segmenter_config, self.field_config, self.head_config = segmenter, field, head
        self.words = given_texts(words)
        self.sky, self.batch, self.adapted = sky, batch, adapted

    def serve(self) -> None:
        """Open the window, say where it is, and wait until whoever runs this has seen enough."""
        viewer = build(self.viewer_config)
        scene = QuerySession(
            self.inputs, self.segmenter_config, self.field_config, self.head_config, self.sky, self.batch, self.device
        )
        address = viewer.start(scene, self.folder, self.words)
        try:
            print(viewer.directions(address), file=sys.stderr, flush=True)
            viewer.wait()
        finally:
            viewer.stop()
