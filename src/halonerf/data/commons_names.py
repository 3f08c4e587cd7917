"""Names of files that strangers chose, made safe for any disk."""

from __future__ import annotations

import itertools
import re

from halonerf.data.commons_text import tidy

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
    text = "".join(c if c.isprintable() else "_" for c in tidy(title))
    text = re.sub(r'[/\\:*?"<>|\0]+', "_", text)
    endings = ENDINGS[mime]
    ending = next((text[-len(e) :] for e in endings if text.lower().endswith(e)), endings[0])
    stem = text.removesuffix(ending).encode("utf-8", errors="replace")[:LONGEST].decode("utf-8", errors="ignore")
    stem = stem.strip(". ") or "photo"
    return (f"_{stem}" if RESERVED.fullmatch(stem) else stem), ending
