"""Formats of stage `export`: one file and one entry of `FORMATS` each."""

from halonerf.stages.export.formats.base import Format, PhotoFormat
from halonerf.stages.export.formats.colmap import ColmapModel
from halonerf.stages.export.formats.depth import DepthMaps
from halonerf.stages.export.formats.masks import ConceptMasks
from halonerf.stages.export.formats.mesh import ConceptMesh
from halonerf.stages.export.formats.nerfstudio import NerfstudioScene
from halonerf.stages.export.formats.points import PointCloud
from halonerf.stages.export.formats.splats import GaussianSplats

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        GaussianSplats(),
        PointCloud(),
        ConceptMesh(),
        ColmapModel(),
        NerfstudioScene(),
        ConceptMasks(),
        DepthMaps(),
    )
}

__all__ = ["FORMATS", "Format", "PhotoFormat"]
