"""Format `mesh`: a surface of the scene in one light, and the part of each concept as a node, as binary glTF.

The surface is fused from depth maps of the splats in the photos' views, which is far more accurate than a level set of
their density; what no view sees is left out. glTF has linear colours and +y up: colours are converted, and the nodes
hold the rotation; vertices stay in the export's frame. The material is unlit, as the colours contain the light.
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
from halonerf.stages.export.contents import ExportContents, ExportedConcepts
from halonerf.stages.export.formats.splat_views import render_splats
from halonerf.stages.export.formats.surface import (
    ExtractedSurface,
    empty_grid,
    extract,
    fuse,
    large_pieces,
    sample_views,
)
from halonerf.stages.export.frame import ExportFrame
from halonerf.types import Splats, View
from halonerf.visualization.pictures import to_uint8

WHOLE = "building"
NODE_OFFSET = 0.2  # voxels, along the normals, between the whole and each concept's part in turn: no z-fighting
MIN_KNOWN_SHARE = 1e-3  # of what views show at a vertex: below, its probabilities are 0


class ConceptMesh:
    """A fused surface with colours and probabilities."""

    name = "mesh"
    summary = (
        "mesh.glb: binary glTF. The node 'building' has the colours of the light and the probability of each concept "
        "at its vertices (_p_<concept>); a node per concept has the faces all of whose vertices reach the threshold. "
        "Vertices are in the frame below; the nodes rotate them so that +y is up. Colours are linear, as in glTF."
    )
    wants_images = False

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Write mesh.glb; `faces`: their number in each node."""
        faces = write_mesh(
            folder / "mesh.glb", contents.splats, contents.colours, contents.concepts, contents.scene.views,
            contents.scene.points, contents.frame, contents.options.voxels, contents.thresholds,
            contents.options.memory_mb,
        )  # fmt: skip
        return {"faces": faces}


def write_mesh(
    path: Path,
    splats: Splats,
    colours: Tensor,
    concepts: ExportedConcepts,
    views: Sequence[View],
    points: Tensor,
    frame: ExportFrame,
    voxels: int,
    thresholds: Sequence[float],
    memory_mb: float,
) -> dict[str, int]:
    """Atomically write the mesh.

    The node "building" is the whole surface, with colours and the probability of each concept (`_p_<name>`) at its
    vertices. A node per concept has the faces all of whose vertices reach the concept's threshold, in its colour.

    Args:
        splats: with finite centres, world frame. colours: [N, 3] in [0, 1]. views: the photos' cameras.
        points: [M, 3], world frame; the mesh covers the box around them.
        voxels: along the longest side of that box. memory_mb: MB that they may take.
    Returns: number of faces of each node.

    Raises: BadInput where there is no surface, or the grid is too large.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    surface, rgb, probability, side = fuse_surface(splats, colours, concepts, views, points, voxels, memory_mb)
    scene = trimesh.Scene()
    upright = np.eye(4)
    upright[:3, :3] = frame.upright

    def add(part: ExtractedSurface, name: str, rgb: np.ndarray, attributes: dict[str, np.ndarray]) -> None:
        mesh = trimesh.Trimesh(
            frame.points(part.vertices),
            part.faces,
            vertex_normals=frame.directions(part.normals),
            vertex_colors=np.column_stack(
                [to_uint8(np.nan_to_num(srgb_to_linear(rgb))), np.full(len(rgb), 255, np.uint8)]
            ),
            process=False,
        )
        mesh.vertex_attributes.update(attributes)
        scene.add_geometry(mesh, node_name=name, geom_name=name, transform=upright)

    attributes = {f"p_{name}": probability[:, k].astype(np.float32) for k, name in enumerate(concepts.properties)}
    add(surface, WHOLE, rgb, attributes)
    faces = {WHOLE: len(surface.faces)}
    for k, name in enumerate(node_names(concepts)):
        inside = np.all((probability[:, k] >= thresholds[k])[surface.faces], axis=1)
        faces[name] = int(inside.sum())
        if inside.any():
            part, _ = surface.part(inside)
            vertices = part.vertices + NODE_OFFSET * (k + 1) * side * part.normals
            colour = np.array(concepts.colours[k]) / 255
            add(ExtractedSurface(vertices, part.normals, part.faces), name, np.tile(colour, (len(vertices), 1)), {})
    write_atomic(path, export_glb(scene, include_normals=True, tree_postprocessor=_unlit))
    return faces


def fuse_surface(
    splats: Splats,
    colours: Tensor,
    concepts: ExportedConcepts,
    views: Sequence[View],
    points: Tensor,
    voxels: int,
    memory_mb: float,
) -> tuple[ExtractedSurface, np.ndarray, np.ndarray, float]:
    """The surface that views see, from depth maps of the splats; arguments and errors as for `write_mesh`.

    Returns: surface, colours [N, 3] in [0, 1] and probabilities [N, P] of its vertices, side of a voxel, world units.
    """
    grid = empty_grid(points.numpy(), voxels, memory_mb)
    no_values = torch.zeros(len(splats), 0)
    fuse(grid, views, lambda view: render_splats(splats, no_values, view).depth.numpy())
    surface = extract(grid, len(views))
    probabilities, confidence = concepts.of_splats(splats)
    known = (confidence > 0).to(probabilities)
    values = torch.cat([colours.cpu(), probabilities * known, known], dim=1)

    def render(view: View) -> tuple[np.ndarray, np.ndarray]:
        rendered = render_splats(splats, values, view)
        return rendered.depth.numpy(), rendered.values.numpy()

    means, weight = sample_views(surface, views, render, grid.side, values.shape[1])
    surface, rows = surface.part(np.all((weight > 0)[surface.faces], axis=1))
    if not len(surface.faces):
        raise BadInput("expected a surface that the photos' views see, got none.\nTake coarser voxels: export.voxels=…")
    surface, kept = surface.part(large_pieces(surface))
    rgb, known_probability, known_share = np.split(means[rows[kept]], [3, 3 + len(concepts.names)], axis=1)
    probability = known_probability / np.maximum(known_share, MIN_KNOWN_SHARE)
    return surface, rgb, np.where(known_share > MIN_KNOWN_SHARE, probability, 0.0), grid.side


def node_names(concepts: ExportedConcepts) -> list[str]:
    """The name of each concept's node: the concept's, changed where it equals that of the whole."""
    return [name if name != WHOLE else f"{name} (concept)" for name in concepts.names]


def srgb_to_linear(colours: np.ndarray) -> np.ndarray:
    """sRGB values in [0, 1] (IEC 61966-2-1) as linear ones in [0, 1], any shape; others are clipped."""
    colours = np.clip(colours, 0, 1)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def _unlit(tree: dict[str, Any]) -> None:
    """Give every primitive of a glTF tree an unlit material (extension KHR_materials_unlit)."""
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
