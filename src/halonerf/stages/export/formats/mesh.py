"""A mesh of the scene in one light, with each concept as a part of its own: binary glTF.

The surface is fused from the depths that the splats show in the photos' views, which is far closer to the truth than
the splats' own density; what no view sees is left out. glTF's colours are linear light and its +y is up: colours are
converted, and the nodes hold the turn; vertices stay in the export's frame. All is drawn unlit: the light is in the
colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.files import write_atomic
from halonerf.stages.export.contents import ExportedConcepts
from halonerf.stages.export.formats.ply import byte_colours
from halonerf.stages.export.formats.splat_views import render_splats
from halonerf.stages.export.formats.surface import ExtractedSurface, empty_grid, extract, fuse, large_pieces, seen_on
from halonerf.stages.export.frame import ExportFrame
from halonerf.types import Splats, View

WHOLE = "building"
LIFT = 0.2  # voxels between the whole, the first concept's part, the second's and so on: none flickers through another


def write_mesh(
    path: Path,
    splats: Splats,
    colours: Tensor,
    concepts: ExportedConcepts,
    views: Sequence[View],
    points: Tensor,
    frame: ExportFrame,
    voxels: int,
    threshold: float,
    memory_mb: float,
) -> dict[str, int]:
    """Write the whole as the node "building", with colours and a probability a concept (`_p_<name>`) at its vertices,
    and each concept's faces, all of whose vertices reach `threshold`, as a node of its name in its own colour.

    Args:
        splats: placed ones, world frame. colours: [N, 3] in [0, 1]. views: the photos' cameras.
        points: [M, 3], world frame; the mesh covers the box around them.
        voxels: along the longest side of that box. memory_mb: MB that they may take.
    Returns: faces of each node.

    Raises: BadInput where there is no surface, or the grid is too large.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    surface, shown, probability, side = surface_of(splats, colours, concepts, views, points, voxels, memory_mb)
    scene = trimesh.Scene()
    turn = np.eye(4)
    turn[:3, :3] = frame.upright

    def add(part: ExtractedSurface, name: str, rgb: np.ndarray, numbers: dict[str, np.ndarray]) -> None:
        mesh = trimesh.Trimesh(
            frame.points(part.vertices),
            part.faces,
            vertex_normals=frame.directions(part.normals),
            vertex_colors=np.column_stack([byte_colours(linear(rgb)), np.full(len(rgb), 255, np.uint8)]),
            process=False,
        )
        mesh.vertex_attributes.update(numbers)
        scene.add_geometry(mesh, node_name=name, geom_name=name, transform=turn)

    numbers = {f"p_{name}": probability[:, k].astype(np.float32) for k, name in enumerate(concepts.properties)}
    add(surface, WHOLE, shown, numbers)
    faces = {WHOLE: len(surface.faces)}
    for k, name in enumerate(node_names(concepts)):
        lit = np.all((probability[:, k] >= threshold)[surface.faces], axis=1)
        faces[name] = int(lit.sum())
        if lit.any():
            part, _ = surface.part(lit)
            raised = ExtractedSurface(part.vertices + LIFT * (k + 1) * side * part.normals, part.normals, part.faces)
            add(raised, name, np.tile(concepts.colours[k].numpy(), (len(part.vertices), 1)), {})
    write_atomic(path, export_glb(scene, include_normals=True, tree_postprocessor=_unlit))
    return faces


def surface_of(
    splats: Splats,
    colours: Tensor,
    concepts: ExportedConcepts,
    views: Sequence[View],
    points: Tensor,
    voxels: int,
    memory_mb: float,
) -> tuple[ExtractedSurface, np.ndarray, np.ndarray, float]:
    """The surface that views see, its colours [N, 3] in [0, 1], its probabilities [N, P], and a voxel's side, world
    units. See `write_mesh`.
    """
    grid = empty_grid(points.numpy(), voxels, memory_mb)
    nothing = torch.zeros(len(splats), 0)
    fuse(grid, views, lambda view: render_splats(splats, nothing, view).depth.numpy())
    surface = extract(grid, len(views))
    probability, confidence = concepts.of(splats)
    known = (confidence > 0).to(probability)
    numbers = torch.cat([colours.cpu(), probability * known, known], dim=1)

    def look(view: View) -> tuple[np.ndarray, np.ndarray]:
        drawn = render_splats(splats, numbers, view)
        return drawn.depth.numpy(), drawn.numbers.numpy()

    seen, weight = seen_on(surface, views, look, grid.side, numbers.shape[1])
    surface, rows = surface.part(np.all((weight > 0)[surface.faces], axis=1))
    if not len(surface.faces):
        raise BadInput("expected a surface that the photos' views see, got none.\nTake coarser voxels: export.voxels=…")
    surface, kept = surface.part(large_pieces(surface))
    rgb, said, known_share = np.split(seen[rows[kept]], [3, 3 + len(concepts.names)], axis=1)
    probabilities = np.where(known_share > 1e-3, said / np.maximum(known_share, 1e-3), 0.0)
    return surface, rgb, probabilities, grid.side


def node_names(concepts: ExportedConcepts) -> list[str]:
    """What each concept's node is called: its own name, but for one that is called as the whole is."""
    return [name if name != WHOLE else f"{name} (concept)" for name in concepts.names]


def linear(colours: np.ndarray) -> np.ndarray:
    """Colours as screens take them (sRGB, IEC 61966-2-1) -> amounts of light, both in [0, 1]."""
    colours = np.clip(colours, 0, 1)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def _unlit(tree: dict[str, Any]) -> None:
    """Give every part a material that shows its colours as they are (the extension KHR_materials_unlit)."""
    tree["extensionsUsed"] = ["KHR_materials_unlit"]
    tree["materials"] = [
        {
            "extensions": {"KHR_materials_unlit": {}},
            "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
            "doubleSided": True,
        }
    ]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
