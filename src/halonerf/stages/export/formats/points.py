"""Format `points`: opaque splats as PLY points with colours, normals, and probabilities of concepts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from halonerf.stages.export.contents import ExportContents, ExportedConcepts
from halonerf.stages.export.formats.ply import write_ply
from halonerf.stages.export.formats.splat_views import outward_normals
from halonerf.stages.export.frame import ExportFrame
from halonerf.types import Splats, View
from halonerf.visualization.pictures import to_uint8


class PointCloud:
    """Centres of the splats whose opacity reaches export.opacity."""

    name = "points"
    summary = (
        "points.ply: centres of the opaque splats. Normals are the splats' shortest axes, oriented to the cameras. "
        "p_<concept>: probability; c_<concept>: confidence, counted in fully opaque pixels of the photos. Where it "
        "is 0 nothing is known, which does not mean that the concept is absent."
    )
    wants_images = False

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Write points.ply; `points`: their number."""
        count = write_points(
            folder / "points.ply", contents.splats, contents.colours, contents.concepts, contents.scene.views,
            contents.frame, contents.options.opacity, contents.comments,
        )  # fmt: skip
        return {"points": count}


def write_points(
    path: Path,
    splats: Splats,
    colours: Tensor,
    concepts: ExportedConcepts,
    views: Sequence[View],
    frame: ExportFrame,
    opacity: float,
    comments: Sequence[str] = (),
) -> int:
    """Atomically write the centres of splats of at least `opacity`; their number.

    Properties: x y z, nx ny nz, red green blue, opacity, and for each concept its probability `p_<name>` and its
    confidence `c_<name>`, in fully opaque pixels of the photos, where 0 is unknown.

    Args:
        splats: with finite centres, world frame. colours: [N, 3] in [0, 1]. views: the photos' cameras.
        frame: of the file. comments: lines of its header.
    """
    opaque = splats.opacities.cpu() >= opacity
    normals = torch.from_numpy(frame.directions(outward_normals(splats, views)[opaque])).float()
    centres = torch.from_numpy(frame.points(splats.centres.cpu()[opaque])).float()
    rgb = to_uint8(colours.cpu()[opaque].nan_to_num())
    probability, confidence = (values[opaque].float().numpy() for values in concepts.of_splats(splats))
    columns = {name: centres[:, i].numpy() for i, name in enumerate(("x", "y", "z"))}
    columns |= {name: normals[:, i].numpy() for i, name in enumerate(("nx", "ny", "nz"))}
    columns |= {name: rgb[:, i] for i, name in enumerate(("red", "green", "blue"))}
    columns["opacity"] = splats.opacities.cpu()[opaque].float().numpy()
    for k, name in enumerate(concepts.properties):
        columns[f"p_{name}"], columns[f"c_{name}"] = probability[:, k], confidence[:, k]
    named = [f"{prop} = {name}" for prop, name in zip(concepts.properties, concepts.names, strict=True)]
    write_ply(path, columns, [*comments, *named])
    return int(opaque.sum())
