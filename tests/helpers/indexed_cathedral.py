"""The procedural cathedral down to `index`, with a segmenter that knows the true masks: what a viewer opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from halonerf.data.scene.scene import Scene
from halonerf.files import write_csv
from halonerf.stages.index.stage import Index
from helpers.made_cathedral import FIELD, HELD_OUT, write_cathedral_folders


def write_indexed_cathedral(root: Path) -> dict[str, Path]:
    """Finished folders down to `index`; the photo that is held out is not in it."""
    folders = write_cathedral_folders(root)
    scene = Scene(folders["ingest"])
    (root / "segment").mkdir()
    rows = [
        {"photo": name, "score": "1.0", "chosen": str(name != HELD_OUT).lower(), "reason": ""} for name in scene.names
    ]
    write_csv(root / "segment" / "choice.csv", ("photo", "score", "chosen", "reason"), rows)
    (root / "index").mkdir()
    stage = Index(segmenter(folders), FIELD, max_photos=len(rows), map_size=96)
    stage.bind(root / "index", {**folders, "segment": root / "segment"}, 0)
    stage.prepare()
    for number, item in enumerate(stage.items()):
        stage.predict_step(item, number)
    stage.finish()
    return {**folders, "index": root / "index"}


def segmenter(folders: dict[str, Path]) -> dict[str, Any]:
    """The config of a segmenter that knows the true masks."""
    return {"_target_": "halonerf.segmenters.Masks", "path": str(folders["collect"] / "masks")}
