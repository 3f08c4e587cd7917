"""explore: an interactive viewer of the scene.

Output: what users save: pictures/, films/, paths/, notes.json, annotations.json and masks/.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from halonerf.config.option_types import Component, PositiveInt
from halonerf.data.formats.probability_maps import read_concepts
from halonerf.expressions import given_texts
from halonerf.factory import build
from halonerf.pipeline.stage import Stage
from halonerf.protocols import Viewer
from halonerf.queries.session import QuerySession
from halonerf.stages.specs import ExploreSpec


class Explore(ExploreSpec, Stage):
    """Open the scene for text queries and serve it by a viewer.

    Args:
        viewer: config of the viewer (`halonerf.protocols.Viewer`).
        segmenter, field, head: configs of the segmenter and field that `index` used, and of a head that lifts.
        words: found in every new window: one text or several.
        sky: text prompt of the sky, where words are not found; None: no sky is excluded.
        batch: photos decoded together; bounds memory.
        adapted: whether the segmenter has the weights of `adapt_segmenter`.
    """

    def __init__(
        self,
        viewer: Component,
        segmenter: Component,
        field: Component,
        head: Component,
        words: str | Sequence[str] | None = None,
        sky: str | None = None,
        batch: PositiveInt = 8,
        adapted: bool = False,
    ) -> None:
        super().__init__()
        self.viewer_config = viewer
        self.segmenter_config, self.field_config, self.head_config = segmenter, field, head
        self.words = given_texts(words)
        self.sky, self.batch, self.adapted = sky, batch, adapted

    def serve(self) -> None:
        """Start the viewer, print its address and block until the user stops the process."""
        viewer: Viewer[QuerySession] = build(self.viewer_config, nested=False)
        session = QuerySession(
            self.inputs, self.segmenter_config, self.field_config, self.head_config, self.sky, self.batch, self.device
        )
        address = viewer.start(session, self.folder, self.words, read_concepts(self.inputs["segment"]))
        try:
            print(viewer.directions(address), file=sys.stderr, flush=True)
            viewer.wait()
        finally:
            viewer.stop()
