"""Corpus: text files of WikiScenes' splits, `path:['weak label', ...]:caption:category, category, ...` per line.

Source: Wu et al., Towers of Babel, ICCV 2021; captions are cut at 100 characters there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from halonerf.config.option_types import Text
from halonerf.data.corpora.files import corpus_files, files_identity
from halonerf.types import ImageRecord

log = logging.getLogger(__name__)

ENDINGS = (".txt",)
# The path ends where the list begins; the caption may hold colons, the categories do not.
_LINE = re.compile(r"(?P<path>.+?):\[(?P<labels>[^\[\]]*)\]:(?P<caption>.*):(?P<categories>[^:]*)")
_LABEL = re.compile(r"'([^']*)'|\"([^\"]*)\"")


class WikiScenesText:
    """A `LabelledCorpus` from WikiScenes' text files; `image_id` is the path in the line.

    Args:
        path: a file, or a folder with `*.txt`.
        name: of the corpus and of the folder of its labels; None: the name of the file or folder.
    """

    def __init__(self, path: Text, name: str | None = None) -> None:
        self.files = corpus_files(path, ENDINGS)
        self.name = name or (self.files[0].stem if len(self.files) == 1 else self.files[0].parent.name)

    def identity(self) -> str:
        return files_identity(self.files)

    def records(self) -> Iterator[ImageRecord]:
        for match in self._lines():
            path = match["path"]
            parts = path.split("/")
            yield ImageRecord(
                image_id=path,
                filename=parts[-1],
                caption=match["caption"],
                categories=tuple(name for name in match["categories"].split(", ") if name.strip()),
                building_type=parts[1].removesuffix("s") if len(parts) > 2 else "",
            )

    def weak_labels(self) -> Iterator[tuple[str, ...]]:
        for match in self._lines():
            yield tuple(one or other for one, other in _LABEL.findall(match["labels"]))

    def _lines(self) -> Iterator[re.Match[str]]:
        for path in self.files:
            damaged = 0
            with open(path, encoding="utf-8-sig", errors="replace", newline="\n") as stream:
                for line in stream:
                    text = line.rstrip("\r\n")
                    match = _LINE.fullmatch(text)
                    if match:
                        yield match
                    elif text.strip():
                        damaged += 1
            if damaged:
                log.warning("%s: skipped %d lines that are not path:[labels]:caption:categories", path, damaged)
