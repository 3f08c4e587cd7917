"""One table of scenes, concepts and methods, as CSV for machines and LaTeX for papers.

Rows in are those of `halonerf.evaluation.bootstrap`; methods, concepts and scenes keep their order of appearance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from halonerf.evaluation.bootstrap import DRAWS, Estimate, Row, estimates

MEAN = "mean"  # stands where a concept or a scene stands
_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def table_fields(figures: Sequence[str]) -> tuple[str, ...]:
    """The columns of `table_rows`."""
    return ("scene", "concept", "method", "photos", *(f"{f}{part}" for f in figures for part in ("", "_low", "_high")))


def table_rows(
    rows: Sequence[Row], figures: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> list[dict[str, object]]:
    """Every scene, concept and method, then the means of each scene, then (where they are several) of all scenes.

    Returns: one mapping a line with the keys `table_fields`, numbers as text of six digits, "" where not defined.
    `photos` counts those with a row of that method.
    """
    found = {figure: estimates(rows, figure, draws, seed) for figure in figures}
    if not rows:
        return []
    first = found[figures[0]]
    lines: list[dict[str, object]] = []

    def line(scene: str, concept: str, method: str, of: Mapping[str, Estimate]) -> None:
        mine = [
            r for r in rows if r["method"] == method and scene in (MEAN, r["scene"]) and concept in (MEAN, r["concept"])
        ]
        if not mine:
            return
        entry: dict[str, object] = {"scene": scene, "concept": concept, "method": method}
        entry["photos"] = len({(r["scene"], r["photo"]) for r in mine})
        for figure, estimate in of.items():
            entry |= {f"{figure}{end}": _number(estimate[part]) for part, end in _PARTS}
        lines.append(entry)

    for scene, concepts in first["concepts"].items():
        for concept in concepts:
            for method in concepts[concept]:
                line(scene, concept, method, {f: found[f]["concepts"][scene][concept][method] for f in figures})
        for method in first["scenes"][scene]:
            line(scene, MEAN, method, {f: found[f]["scenes"][scene][method] for f in figures})
    if len(first["scenes"]) > 1:
        for method in first["overall"]:
            line(MEAN, MEAN, method, {f: found[f]["overall"][method] for f in figures})
    return lines


def latex_table(
    rows: Sequence[Row],
    figure: str = "ap",
    titles: Mapping[str, str] | None = None,
    caption: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> str:
    """A table for LaTeX with booktabs: concepts down, methods across, means with intervals, a line's best in bold.

    Args:
        titles: what methods are called; they stand first and in this order, the others keep their names. Each mean is
            over the photos that its method has; `differences` compares over common ones.
        caption: plain text.
    """
    found = estimates(rows, figure, draws, seed)
    titles = titles or {}
    methods = sorted(found["overall"], key=lambda m: list(titles).index(m) if m in titles else len(titles))
    names = [escape(titles.get(method, method)) for method in methods]
    body: list[str] = []
    for scene, concepts in found["concepts"].items():
        if len(found["scenes"]) > 1:
            body += [r"\midrule"] * bool(body)
            body.append(rf"\multicolumn{{{1 + len(methods)}}}{{l}}{{\textit{{{escape(scene)}}}}} \\")
        body += [_line(escape(concept), [of[m] for m in methods]) for concept, of in concepts.items()]
        body.append(_line(r"\textbf{mean}", [found["scenes"][scene][m] for m in methods]))
    if len(found["scenes"]) > 1:
        body += [r"\midrule", _line(r"\textbf{mean of scenes}", [found["overall"][m] for m in methods])]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            *([rf"\caption{{{escape(caption)}}}"] if caption else []),
            rf"\begin{{tabular}}{{l{'c' * len(methods)}}}",
            r"\toprule",
            " & ".join(["", *names]) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_SPECIAL.get(sign, sign) for sign in " ".join(text.split()))


_PARTS = (("mean", ""), ("low", "_low"), ("high", "_high"))


def _line(name: str, cells: Sequence[Estimate]) -> str:
    means = [cell["mean"] for cell in cells]
    best = max((f"{mean:.3f}" for mean in means if mean is not None), default=None)
    return " & ".join([name, *(_cell(cell, best if len(cells) > 1 else None) for cell in cells)]) + r" \\"


def _cell(estimate: Estimate, best: str | None) -> str:
    if estimate["mean"] is None:
        return "--"
    shown = f"{estimate['mean']:.3f}"
    shown = rf"\textbf{{{shown}}}" if shown == best else shown
    if estimate["low"] is None or estimate["high"] is None:
        return shown
    return rf"{shown} {{\scriptsize [{estimate['low']:.2f}, {estimate['high']:.2f}]}}"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.6f}"


Spread = dict[str, float | int | None]  # mean, sd (over scenes, of a sample; None for one), scenes


def spreads(rows: Sequence[Row], figure: str = "ap") -> dict[str, dict[str, Spread]]:
    """Mean and standard deviation over scenes, by concept and method; under `MEAN`, of the scenes' means.

    Args:
        rows: a photo, a concept and a method each, as in `halonerf.evaluation.bootstrap`. A scene's mean is that
            of its concepts, a concept's that of its photos.
    """
    photos: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row[figure] is not None:
            photos.setdefault((row["concept"], row["method"], row["scene"]), []).append(row[figure])
    scenes: dict[str, dict[str, dict[str, float]]] = {}
    for (concept, method, scene), values in photos.items():
        scenes.setdefault(concept, {}).setdefault(method, {})[scene] = float(np.mean(values))
    whole: dict[str, dict[str, list[float]]] = {}
    for methods in scenes.values():
        for method, means in methods.items():
            for scene, value in means.items():
                whole.setdefault(method, {}).setdefault(scene, []).append(value)
    scenes[MEAN] = {m: {scene: float(np.mean(values)) for scene, values in of.items()} for m, of in whole.items()}
    return {
        concept: {method: _spread(list(means.values())) for method, means in methods.items()}
        for concept, methods in scenes.items()
    }


def text_table(found: Mapping[str, Mapping[str, Spread]], titles: Mapping[str, str]) -> str:
    """`spreads` as lines of text: concepts down, methods across, mean ± sd over scenes."""
    cells = [["concept", *titles.values()]]
    for concept, methods in found.items():
        cells.append([concept, *(cell(methods.get(method)) for method in titles)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in cells
    )


def cell(entry: Spread | None) -> str:
    """0.874 ± 0.021; without a spread where there is one scene."""
    if entry is None or entry["mean"] is None:
        return "–"
    spread = "" if entry["sd"] is None else f" ± {entry['sd']:.3f}"
    return f"{entry['mean']:.3f}{spread}"


def _spread(values: Sequence[float]) -> Spread:
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "scenes": len(values),
    }
