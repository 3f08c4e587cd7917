"""An engine on 60 Gaussians and five photos."""

from __future__ import annotations

from pathlib import Path

import torch

from halonerf.queries.connected_parts import PartOptions
from halonerf.queries.session import QuerySession
from halonerf.stages.index.stage import Index
from halonerf.viewer.engine import Engine
from helpers.made_folders import run_stage
from helpers.made_query import FIELD, HEAD, SEGMENTER, write_query_folders

CONCEPTS = ("green", "red")


def made_engine(root: Path) -> Engine:
    """The scene in `root`, opened; its lights differ as those of a fitted field do."""
    folders = write_query_folders(root)
    run_stage(Index(SEGMENTER, FIELD, max_photos=4, map_size=32), root / "index", folders)
    session = QuerySession({**folders, "index": root / "index"}, SEGMENTER, FIELD, HEAD)
    with torch.no_grad():
        random = torch.Generator().manual_seed(0)
        session.field.codes.table.copy_(torch.randn(session.field.codes.table.shape, generator=random))
        weight = session.field.appearance_model.to_affine.weight
        weight.copy_(torch.randn(weight.shape, generator=random))
    return Engine(session, PartOptions(min_elements=2), CONCEPTS)
