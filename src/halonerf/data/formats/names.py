"""Names of the files that one stage writes and others read, the only place where they are literals.

The collection's files are named in `halonerf.data.collection`, the scene's in `halonerf.data.scene.files`, the manifest
in `halonerf.artifacts`.
"""

from __future__ import annotations

from pathlib import Path

UNUSED_METADATA = "unused_metadata.csv"  # `collect`; rows of scene.metadata that belong to no photo

METRICS = "metrics.json"  # of every stage that computes scores
REPORT = "report.html"  # `evaluate`, `compare`, `report`: the page to open
EXAMPLES = "examples.png"

REGISTRATION = "registration.png"  # `ingest`
INGEST_REPORT = "report.json"

LABELS = "labels.csv"  # `distill`; labels.parquet with distill.table=parquet; `read_label_rows` finds either
LABEL_PAGE = "labels.html"

PAIRS = "pairs.parquet"  # `mine`
MATCHES = "matches.npz"

TARGETS = "targets.csv"  # `targets`

FIELD = "field.safetensors"  # `reconstruct`
CAMERAS = "cameras.npz"  # where cameras were refined

CONCEPTS = "concepts.json"  # `segment`, and a copy by `localize`
PHOTO_CHOICE = "choice.csv"
CONCEPT_WEIGHTS = "weights.csv"
OVERVIEW = "overview.png"
MAPS = "maps"  # folder; a file per view
RENDERINGS = "renderings"  # folder; a file per annotated rendering

TEXT_EMBEDDINGS = "words.safetensors"  # `features`

HEAD = "head.safetensors"  # `localize`
THRESHOLDS = "thresholds.json"
RENDERS = "renders"  # folder; a file per view

INDEXED_PHOTOS = "photos.csv"  # `index`

SHARED_PAGE, SHARED_PREVIEW, SHARED_FACTS = "index.html", "preview.jpg", "share.json"  # `share`

SCORES = "scores"  # `evaluate`; folder; a file per view
PER_IMAGE = "per_image.csv"


def view_file(folder: Path, view: int, ending: str) -> Path:
    """Path of a view's file in a folder of one file per view: `<folder>/<view, five digits><ending>`."""
    return folder / f"{view:05d}{ending}"
