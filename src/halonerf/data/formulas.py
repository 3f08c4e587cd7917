"""Cells of CSV files that a spreadsheet would run: they begin with `=`, `+`, `-`, `@`, a tab or a carriage return.

Such a cell gets an apostrophe in front, and so does one that has apostrophes before such a sign already; who reads the
file takes one away again, so nothing is lost (OWASP, "CSV Injection").
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


def harmless(cell: str) -> str:
    """`cell` as no spreadsheet takes it for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def as_written(cell: str) -> str:
    """What `harmless` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
