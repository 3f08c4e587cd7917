"""Names of the files through which stages talk: each is written here and nowhere else in the code.

The collection's files are named in `halonerf.data.collection`, the scene's in `halonerf.data.scene.files`, the manifest
in `halonerf.artifacts`.
"""

from __future__ import annotations

from pathlib import Path

METRICS = "metrics.json"  # of every stage that scores something
REPORT = "report.html"  # `evaluate`, `compare`, `report`: the page to open
EXAMPLES = "examples.png"

REGISTRATION = "registration.png"  # `ingest`
INGEST_REPORT = "report.json"

LABELS = "labels.csv"  # `distill`; labels.parquet where distill.table=parquet, which its readers find, too
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
MAPS = "maps"  # folder; a file a view

WORD_EMBEDDINGS = "words.safetensors"  # `features`

HEAD = "head.safetensors"  # `localize`
RENDERS = "renders"  # folder; a file a view

INDEXED_PHOTOS = "photos.csv"  # `index`

SHARED_PAGE, SHARED_PREVIEW, SHARED_FACTS = "index.html", "preview.jpg", "share.json"  # `share`

SCORES = "scores"  # `evaluate`; folder; a file a view
PER_IMAGE = "per_image.csv"


def view_file(folder: Path, view: int, ending: str) -> Path:
    """Path of a view's file in a folder with one a view: `<folder>/<view, five digits><ending>`."""
    return folder / f"{view:05d}{ending}"
