"""Structure from motion with COLMAP: features, image pairs, verification, mapping."""

from halonerf.exports import lazy_exports

_HOMES = {
    "VerifiedPair": "verification",
    "accept": "shared_cameras",
    "check_model_photos": "photo_checks",
    "check_photos": "photo_checks",
    "extract_features": "features",
    "find_models": "colmap_model",
    "make_cameras": "mapping",
    "mapping_scale": "features",
    "match_names": "colmap_model",
    "model_files": "colmap_model",
    "nearest_pairs": "pairing",
    "propose_pairs": "pairing",
    "read_model": "colmap_model",
    "rebuild": "mapping",
    "refine": "shared_cameras",
    "registered_names": "colmap_model",
    "run_mapper": "mapping",
    "shared_groups": "shared_cameras",
    "single_threaded": "verification",
    "split_usable": "photo_checks",
    "unit_descriptors": "verification",
    "verify_pair": "verification",
    "vlad": "pairing",
    "write_database": "mapping",
}
__all__ = [*_HOMES]
__getattr__ = lazy_exports(__name__, _HOMES)
