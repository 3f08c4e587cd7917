"""Rows of CSV and TSV files as spreadsheets write them: any of four separators, any encoding, with line numbers.

A file that cannot be read without a guess (an open quote, more cells than columns) is refused with its line, since a
lenient reader would move or drop texts without a word.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import logging
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from halonerf.errors import BadInput

log = logging.getLogger(__name__)

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MAX_CELL_CHARS = 1 << 24  # a longer cell is a damaged file: a quote that is never closed, for example
LATIN_PAGES = ("cp1252", "cp1250", "cp1254", "cp1257", "mac_roman", "cp850")  # Windows, the older Mac, DOS
OTHER_PAGES = ("cp1251", "cp1253", "cp1255", "cp1256", "cp932", "gb18030", "big5", "cp949", "koi8_r")
CODE_PAGES = (*LATIN_PAGES, *OTHER_PAGES)
SAMPLE_BYTES = 1 << 18  # from which the encoding of a file is detected
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Row(NamedTuple):
    """A row of a table: the line it begins in, from 1, and its cells by column, as they are written."""

    line: int
    cells: dict[str, str]


class Header(NamedTuple):
    """The columns of a table as they are written, without spaces around them, and the sign between cells."""

    columns: tuple[str, ...]
    separator: str

    def find(self, *names: str) -> str | None:
        """The column of one of these names, the first that there is, whatever its case."""
        by_name = {column.casefold(): column for column in reversed(self.columns)}
        return next((by_name[name] for name in names if name in by_name), None)


class DelimitedFile:
    """A CSV or TSV file, perhaps gzipped, that is read row by row.

    Args:
        path: the file.
        wanted: names of columns, lower case: the separator is that with which the header has most of them.
        fits: how well a decoded text fits, such as the number of known names in it; compares code pages where a file is
            neither UTF-8 nor marked. None: the text alone decides.

    Raises: BadInput where the file cannot be opened or decoded.
    """

    def __init__(self, path: Path, wanted: Collection[str], fits: Callable[[str], int] | None = None) -> None:
        self.path = path
        with file_errors(path), open_bytes(path) as stream:
            sample = stream.read(SAMPLE_BYTES)
        self.encoding = detect_encoding(sample, fits)
        if self.encoding in CODE_PAGES:
            log.warning(
                "%s is not UTF-8 and is read as %s; if letters with accents are wrong, save it as UTF-8",
                path, self.encoding,
            )  # fmt: skip
        with file_errors(path), self._text() as text:
            self.header, self._skip = self._read_header(text, wanted)

    def rows(self) -> Iterator[Row]:
        """The rows that are not empty. Cells that a short row lacks are "".

        Raises: BadInput, with the line, where a quote is never closed, a row has more cells than there are columns, or
            a cell is larger than `MAX_CELL_CHARS`.
        """
        columns = self.header.columns
        damaged: list[int] = []
        with file_errors(self.path), self._text() as text:
            for line, cells in self._records(text):
                if line <= self._skip or not any(cell.strip() for cell in cells):
                    continue
                if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
                    sign = SEPARATORS[self.header.separator]
                    raise BadInput(
                        f"expected at most {len(columns)} cells in line {line} of {self.path}, as in its header, got "
                        f"{len(cells)}.\nPut cells that hold a {sign} in double quotes."
                    )
                if any("\ufffd" in cell for cell in cells):
                    damaged.append(line)
                padded = (*cells, *[""] * (len(columns) - len(cells)))
                yield Row(line, dict(zip(columns, padded, strict=False)))
        if damaged:
            log.warning(
                "%s: %d rows have letters that are not %s, the first in line %d; save the table as UTF-8",
                self.path, len(damaged), self.encoding, damaged[0],
            )  # fmt: skip

    @contextmanager
    def _text(self) -> Iterator[IO[str]]:
        with (
            open_bytes(self.path) as stream,
            io.TextIOWrapper(stream, self.encoding, errors="replace", newline="") as text,
        ):
            yield text

    def _read_header(self, text: IO[str], wanted: Collection[str]) -> tuple[Header, int]:
        """The header, and the number of lines up to its end."""
        given = ""
        for line, raw in enumerate(text, start=1):
            plain = raw.strip().strip("\ufeff")
            if not plain.strip("".join(SEPARATORS)):
                continue
            if line == 1 and plain.casefold().startswith("sep=") and plain[4:5] in SEPARATORS:
                given = plain[4]  # as Excel marks it
                continue
            return self._split_header(plain, given or "".join(SEPARATORS), wanted), line
        return Header((), ","), 0

    def _split_header(self, line: str, separators: str, wanted: Collection[str]) -> Header:
        found = []
        for separator in separators:
            try:
                cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
            except (csv.Error, StopIteration):
                continue
            columns = tuple(cell.strip().strip("\ufeff").strip() for cell in cells)
            found.append(Header(columns, separator))

        def rank(header: Header) -> tuple[int, int]:
            return len({column.casefold() for column in header.columns} & set(wanted)), len(header.columns)

        best = max(found, key=rank, default=None)
        if best is None:
            raise BadInput(f"expected a header in the first line of {self.path}, got '{line[:80]}'.")
        twice = sorted({c for c in best.columns if c and sum(c.casefold() == d.casefold() for d in best.columns) > 1})
        if set(map(str.casefold, twice)) & set(wanted):
            raise BadInput(
                f"expected each column once in the header of {self.path}, got '{twice[0]}' twice.\nRename one of them."
            )
        return best

    def _records(self, text: IO[str]) -> Iterator[tuple[int, list[str]]]:
        """Cells of each record, with the line that it begins in."""
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
        reader = csv.reader(text, delimiter=self.header.separator, skipinitialspace=True, strict=True)
        line = 1
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if line <= self._skip:  # the header was read leniently
                    line = reader.line_num + 1
                    continue
                raise BadInput(
                    f"expected rows of cells in {self.path}, but the one that begins in line {line} cannot be split: "
                    f"{error}.\nClose every double quote, and write quotes inside a cell twice."
                ) from error
            yield line, cells
            line = reader.line_num + 1


def detect_encoding(sample: bytes, fits: Callable[[str], int] | None = None) -> str:
    """Name of the encoding of a text file that begins with `sample`.

    UTF-8, 16 and 32 are recognised for certain. Of code pages, which short texts do not tell apart, that is taken under
    which the text fits best (`fits`); of equal ones Windows' Western page where charset-normalizer finds no other
    likelier, else its likeliest.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if sample[: len(sample) // 2 * 2].count(0) > 0.2 * len(sample):  # of Latin letters, every other byte is 0
        return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
    damaged, whole = _utf8_faults(sample)
    if damaged <= whole:
        return "utf-8"
    from charset_normalizer import from_bytes

    words = [word for word in _WORD.findall(sample) if not word.isascii()]
    foreign = sum(all(byte >= 0x80 for byte in word) for word in words if len(word) > 2)
    pages = OTHER_PAGES if 2 * foreign > len(words) else CODE_PAGES  # words of Latin letters have few accents
    likely = from_bytes(sample, cp_isolation=list(pages))
    same = {name for match in likely if match.chaos <= likely[0].chaos for name in match.could_be_from_charset}
    first = "cp1252" if "cp1252" in same or not likely else likely[0].encoding
    candidates = dict.fromkeys((first, *(match.encoding for match in likely), *CODE_PAGES))
    return max(candidates, key=lambda encoding: fits(sample.decode(encoding, errors="replace"))) if fits else first


_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")


def _utf8_faults(sample: bytes) -> tuple[int, int]:
    """Bytes that are not UTF-8, and letters of several bytes that are; a letter cut off at the end is neither."""
    text = sample.decode("utf-8", errors="surrogateescape")
    damaged = sum(0xDC80 <= ord(c) <= 0xDCFF for c in text[:-3]) + sum(0xDC80 <= ord(c) <= 0xDCFF for c in text[-3:-1])
    if len(sample) < SAMPLE_BYTES:
        damaged += sum(0xDC80 <= ord(c) <= 0xDCFF for c in text[-1:])
    return damaged, sum(ord(c) >= 0x80 and not 0xDC80 <= ord(c) <= 0xDCFF for c in text)


def open_bytes(path: Path) -> IO[bytes]:
    """A file for reading, decompressed if its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")  # type: ignore[return-value]


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file that is missing, locked or damaged into BadInput."""
    try:
        yield
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BadInput(
            f"expected a readable table at {path}, but it cannot be read: {reason}.\nGive another file, or restore it."
        ) from error
