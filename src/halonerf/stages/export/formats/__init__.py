"""Writers of the export formats."""

from halonerf.exports import lazy_exports

_HOMES = {
    "depth_files": "depth",
    "depth_unit": "depth",
    "image_files": "images",
    "mask_files": "masks",
    "write_coco": "masks",
    "write_colmap": "colmap",
    "write_depth": "depth",
    "write_image": "images",
    "write_masks": "masks",
    "write_mesh": "mesh",
    "write_nerfstudio": "nerfstudio",
    "write_points": "points",
    "write_splats": "splats",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
