"""The scene for callers in Python: open it with the command line's options, then run text queries.

>>> from halonerf import Scene
>>> scene = Scene.open("scene=photos", "scene.path=photos/milan")
>>> answer = scene.query("rose window")
>>> answer.maps[0].photo, answer.maps[0].probability   # the photo that shows it best; [H, W, 1]
>>> answer.parts[0]                                    # its parts in 3D, the largest first
"""

from __future__ import annotations

import torch

from halonerf.cli import composed, run
from halonerf.pipeline.plan import resolve
from halonerf.queries.session import QuerySession

PLACEHOLDER = "building"  # a text for the plan of stage `query`, which requires one


class Scene(QuerySession):
    """A scene whose photos, field and index are in memory; see `QuerySession.query`."""

    @classmethod
    def open(cls, *overrides: str, device: torch.device | str = "cpu") -> Scene:
        """Run the stages that are not cached, up to `localize` and `index`, and open the scene.

        Args:
            overrides: as on the command line: "scene=cathedral", "artifacts=DIR", "index.max_photos=32"; no "stage=…".
            device: of segmenter and field.

        Raises: UserError, as the command line would print it.
        """
        config = composed([*overrides, "stage=query", f"text={PLACEHOLDER}", "plan=false", "publish=null"])
        plan = resolve(config)
        query, needed = plan.goal.config, plan.goal.inputs
        if not all(plan.store.has(*artifact) for artifact in needed.values()):
            for config.stage in ("localize", "index"):  # all that a query reads is on the way to these
                run(config)
        folders = {need: plan.store.folder(*artifact) for need, artifact in needed.items()}
        return cls(folders, query["segmenter"], query["field"], query["head"], query["sky"], query["batch"], device)
