"""Which files of a category are taken, and why the others are not."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Sequence

from halonerf.data.commons.media_file import CommonsFile
from halonerf.data.commons.text import tidy_text
from halonerf.errors import BadInput

# Short names of licences, with every space and underscore a hyphen, that let anybody use, change and pass on the photo.
# Source: https://commons.wikimedia.org/wiki/Commons:Licensing; none with "nc" (not for money) or "nd" (no changes).
FREE = (
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


class PhotoFilter:
    """Says why a file is not taken.

    Args:
        kinds: MIME types of photos.
        min_pixels, max_pixels: width x height of the original; 0: no limit.
        min_bytes, max_bytes: of what is downloaded; 0: no limit.
        licences: patterns (`*`, `?`, `[…]`), one of which must fit the licence's short name or the wiki's key for it;
            a pattern with a slash is held against its address. Spaces, underscores and hyphens are one, and case does
            not matter. Empty: any licence, also an unknown one.
        scaled: whether smaller copies are downloaded where there are any.

    Raises: BadInput for a kind that is no photo, and for sizes that exclude each other.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        min_pixels: int,
        max_pixels: int,
        min_bytes: int,
        max_bytes: int,
        licences: Sequence[str],
        scaled: bool,
    ) -> None:
        strange = sorted(set(kinds) - ENDINGS.keys())
        if strange or not kinds:
            raise BadInput(
                f"expected corpus.kinds to be some of {', '.join(ENDINGS)}, got {', '.join(strange) or 'none'}."
            )
        for least, most, what in ((min_pixels, max_pixels, "pixels"), (min_bytes, max_bytes, "bytes")):
            if min(least, most) < 0 or (most and least > most):
                raise BadInput(f"expected 0 <= corpus.min_{what} <= corpus.max_{what}, got {least} and {most}.")
        self.kinds, self.pixels, self.bytes = tuple(kinds), (min_pixels, max_pixels), (min_bytes, max_bytes)
        self.licences, self.scaled = tuple(licences), scaled

    def problem(self, file: CommonsFile) -> str:
        """Why the file is left out, as far as can be told before it is there; empty where it is taken."""
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
        if self.licences and not any(_fits(file, pattern) for pattern in self.licences):
            return f"licence: {file.licence or file.licence_key or 'none stated'}"
        return ""


def within(value: int, limits: tuple[int, int]) -> bool:
    """Whether a value keeps a lower and an upper limit; 0 is none."""
    return limits[0] <= value and (not limits[1] or value <= limits[1])


def _fits(file: CommonsFile, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatch.fnmatchcase(file.licence_url.casefold(), pattern.casefold())
    wanted = _plain(pattern)
    return any(fnmatch.fnmatchcase(_plain(name), wanted) for name in (file.licence, file.licence_key) if name)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.casefold().strip())


ENDINGS = {"image/jpeg": (".jpg", ".jpeg", ".jpe"), "image/png": (".png",), "image/webp": (".webp",)}
LONGEST = 180  # bytes of a name without its ending; most disks allow 255
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices of Windows


class PhotoNames:
    """Gives each photo a name of its own, also without its ending, as masks are named after photos.

    Disks that do not tell "Portal" from "portal" take them all.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, title: str, mime: str, number: int) -> str:
        """A name for the photo with this title; `number`, the wiki's own, tells it from another with the same name."""
        stem, ending = safe_stem(title, mime)
        free = stem
        for other in itertools.count(number):
            if free.casefold() not in self._taken:
                break
            free = f"{stem} ({other})"
        self._taken.add(free.casefold())
        return f"{free}{ending}"


def safe_stem(title: str, mime: str) -> tuple[str, str]:
    """A title without its ending, in letters that any disk takes and that never leave the folder; and an ending."""
    text = "".join(c if c.isprintable() else "_" for c in tidy_text(title))
    text = re.sub(r'[/\\:*?"<>|\0]+', "_", text)
    endings = ENDINGS[mime]
    ending = next((text[-len(e) :] for e in endings if text.lower().endswith(e)), endings[0])
    stem = text.removesuffix(ending).encode("utf-8", errors="replace")[:LONGEST].decode("utf-8", errors="ignore")
    stem = stem.strip(". ") or "photo"
    return (f"_{stem}" if RESERVED.fullmatch(stem) else stem), ending
