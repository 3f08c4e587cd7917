"""What a format of stage `export` is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from halonerf.stages.export.contents import ExportContents

FormatName = Literal["splats", "points", "mesh", "colmap", "nerfstudio", "masks", "depth"]


@runtime_checkable
class Format(Protocol):
    """A format that stage `export` writes into a folder named after it; `halonerf.stages.export.formats` lists all.

    name: of the folder, and in export.formats. summary: of the files, for README.txt. wants_images: whether
    `<folder>/images/` is to hold the undistorted photos.
    """

    name: str
    summary: str
    wants_images: bool

    def write(self, contents: ExportContents, folder: Path) -> dict[str, Any]:
        """Write the files that are not of a single photo, into `folder`, which exists.

        Returns: facts for `contents.json`.
        """


@runtime_checkable
class PhotoFormat(Format, Protocol):
    """A format with files for each photo, with which a killed run resumes; `write` is called after the last."""

    def files(self, contents: ExportContents, folder: Path, view: int) -> list[Path]:
        """All files that `write_photo` writes for a view."""

    def write_photo(self, contents: ExportContents, folder: Path, view: int) -> None:
        """Write the files of a view."""
