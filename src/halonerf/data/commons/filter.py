"""Selection of files by kind, size and licence; file names of the selected photos."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Sequence
from typing import Literal

from halonerf.data.commons.media_file import CommonsFile
from halonerf.data.commons.text import tidy_text
from halonerf.errors import BadInput

# Short names of licences that permit use, changes and redistribution; spaces and underscores are written as hyphens.
# Source: https://commons.wikimedia.org/wiki/Commons:Licensing; none with "nc" (non-commercial) or "nd" (no derivatives)
FREE_LICENCES = (
    "cc0*",
    "cc-zero",
    "cc-by",
    "cc-by-[0-9]*",
    "cc-by-sa",
    "cc-by-sa-[0-9]*",
    "cc-sa-[0-9]*",
    "public-domain*",
    "pd",
    "pd-*",
    "cc-pd-mark*",
    "no-restrictions",
    "attribution",
    "copyrighted-free-use*",
    "fal",
    "free-art-license*",
    "gfdl*",
    "gpl*",
    "lgpl*",
    "ogl*",
    "dl-de*",
    "godl*",
    "kogl-type-1*",
    "licence-ouverte*",
)


Kind = Literal["image/jpeg", "image/png", "image/webp"]  # MIME type of a photo


class PhotoFilter:
    """Selects files by MIME type, size and licence.

    Args:
        kinds: MIME types of photos.
        min_pixels, max_pixels: width x height of the original; 0: no limit.
        min_bytes, max_bytes: of what is downloaded; 0: no limit.
        licences: patterns (`*`, `?`, `[…]`), one of which must match the licence's short name or the wiki's key for it;
            a pattern with a slash is matched against the licence's address. Spaces, underscores and hyphens are equal;
            case is ignored. Empty: any licence, also an unknown one.
        scaled: whether smaller copies are downloaded where they exist.

    Raises: BadInput for contradictory sizes.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        min_pixels: int,
        max_pixels: int,
        min_bytes: int,
        max_bytes: int,
        licences: Sequence[str],
        scaled: bool,
    ) -> None:
        for low, high, what in ((min_pixels, max_pixels, "pixels"), (min_bytes, max_bytes, "bytes")):
            if high and low > high:
                raise BadInput(f"expected corpus.min_{what} <= corpus.max_{what}, got {low} and {high}.")
        self.kinds, self.pixels, self.bytes = tuple(kinds), (min_pixels, max_pixels), (min_bytes, max_bytes)
        self.licences, self.scaled = tuple(licences), scaled

    def problem(self, file: CommonsFile) -> str:
        """Why the file is left out, as far as its metadata show; empty where it is selected."""
        if file.missing:
            return "deleted or hidden"
        if file.mime not in self.kinds:
            return f"not a photo: {file.mime or 'of no stated kind'}"
        if not within(file.width * file.height, self.pixels):
            return f"size: {file.width} x {file.height} pixels"
        if not (self.scaled and file.scaled_url) and not within(file.size, self.bytes):
            return f"size: {file.size} bytes"
        if self.licences and file.nonfree:
            return "licence: not free"
        if self.licences and not any(_matches(file, pattern) for pattern in self.licences):
            return f"licence: {file.licence or file.licence_key or 'none stated'}"
        return ""


def within(value: int, limits: tuple[int, int]) -> bool:
    """Whether a value lies within (lower, upper) limits, inclusive; an upper limit of 0 is none."""
    return limits[0] <= value and (not limits[1] or value <= limits[1])


def _matches(file: CommonsFile, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatch.fnmatchcase(file.licence_url.casefold(), pattern.casefold())
    wanted = _normalised(pattern)
    return any(fnmatch.fnmatchcase(_normalised(name), wanted) for name in (file.licence, file.licence_key) if name)


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.casefold().strip())


ENDINGS = {"image/jpeg": (".jpg", ".jpeg", ".jpe"), "image/png": (".png",), "image/webp": (".webp",)}
MAX_STEM_BYTES = 180  # of a file name without its ending; most file systems allow 255 with it
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # device names of Windows


class PhotoNames:
    """Unique file names of photos, also without their endings (masks are named after photos) and ignoring case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, title: str, mime: str, number: int) -> str:
        """File name for a photo of this title and MIME type; the page's `number` is added where the name is taken."""
        stem, ending = safe_stem(title, mime)
        free = stem
        for other in itertools.count(number):
            if free.casefold() not in self._taken:
                break
            free = f"{stem} ({other})"
        self._taken.add(free.casefold())
        return f"{free}{ending}"


def safe_stem(title: str, mime: str) -> tuple[str, str]:
    """A title without its ending, safe as a file name on any system and free of path separators; and the ending."""
    text = "".join(c if c.isprintable() else "_" for c in tidy_text(title))
    text = re.sub(r'[/\\:*?"<>|\0]+', "_", text)
    endings = ENDINGS[mime]
    ending = next((text[-len(e) :] for e in endings if text.lower().endswith(e)), endings[0])
    stem = text.removesuffix(ending).encode("utf-8", errors="replace")[:MAX_STEM_BYTES].decode("utf-8", errors="ignore")
    stem = stem.strip(". ") or "photo"
    return (f"_{stem}" if RESERVED.fullmatch(stem) else stem), ending
