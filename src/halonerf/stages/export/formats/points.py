"""The splats that are solid enough as points, with what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from halonerf.stages.export.contents import ExportedConcepts
from halonerf.stages.export.formats.ply import byte_colours, write_ply
from halonerf.stages.export.formats.splat_views import outward_normals
from halonerf.stages.export.frame import ExportFrame
from halonerf.types import Splats, View


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
    """Write the centres of splats of at least `opacity`; how many there are.

    Properties: x y z, nx ny nz, red green blue, opacity, and for each concept `p_<name>`, its probability, and
    `c_<name>`, how much the photos said of it in fully opaque pixels: 0 is unknown.

    Args:
        splats: placed ones, in the world frame. colours: [N, 3] in [0, 1]. views: the photos' cameras.
    """
    solid = splats.opacities.cpu() >= opacity
    normals = torch.from_numpy(frame.directions(outward_normals(splats, views)[solid])).float()
    centres = torch.from_numpy(frame.points(splats.centres.cpu()[solid])).float()
    bytes_ = byte_colours(colours.cpu()[solid].numpy())
    probability, confidence = (values[solid].float().numpy() for values in concepts.of(splats))
    columns = {name: centres[:, i].numpy() for i, name in enumerate(("x", "y", "z"))}
    columns |= {name: normals[:, i].numpy() for i, name in enumerate(("nx", "ny", "nz"))}
    columns |= {name: bytes_[:, i] for i, name in enumerate(("red", "green", "blue"))}
    columns["opacity"] = splats.opacities.cpu()[solid].float().numpy()
    for k, name in enumerate(concepts.properties):
        columns[f"p_{name}"], columns[f"c_{name}"] = probability[:, k], confidence[:, k]
    named = [f"{prop} = {name}" for prop, name in zip(concepts.properties, concepts.names, strict=True)]
    write_ply(path, columns, [*comments, *named])
    return int(solid.sum())
