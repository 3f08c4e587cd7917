"""Tables of scenes, concepts and methods as CSV, LaTeX and plain text.

Input rows are those of `halonerf.evaluation.bootstrap`; methods, concepts and scenes keep their order of appearance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from halonerf.evaluation.bootstrap import DRAWS, Estimate, Row, estimates

MEAN = "mean"  # in place of a concept or a scene
_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def table_fields(metrics: Sequence[str]) -> tuple[str, ...]:
    """The columns of `table_rows`."""
    return ("scene", "concept", "method", "photos", *(f"{f}{part}" for f in metrics for part in ("", "_low", "_high")))


def table_rows(
    rows: Sequence[Row], metrics: Sequence[str], draws: int = DRAWS, seed: int = 0
) -> list[dict[str, object]]:
    """Lines of every scene, concept and method, of the means of each scene, and of all scenes if there are several.

    Returns: one mapping per line with the keys `table_fields`, numbers as text with six decimals, "" where not defined.
    `photos` counts those with a row of that method.
    """
    found = {metric: estimates(rows, metric, draws, seed) for metric in metrics}
    if not rows:
        return []
    first = found[metrics[0]]
    lines: list[dict[str, object]] = []

    def line(scene: str, concept: str, method: str, of: Mapping[str, Estimate]) -> None:
        mine = [
            r for r in rows if r["method"] == method and scene in (MEAN, r["scene"]) and concept in (MEAN, r["concept"])
        ]
        if not mine:
            return
        entry: dict[str, object] = {"scene": scene, "concept": concept, "method": method}
        entry["photos"] = len({(r["scene"], r["photo"]) for r in mine})
        for metric, estimate in of.items():
            entry |= {f"{metric}{end}": _number(estimate[part]) for part, end in _PARTS}
        lines.append(entry)

    for scene, concepts in first["concepts"].items():
        for concept in concepts:
            for method in concepts[concept]:
                line(scene, concept, method, {f: found[f]["concepts"][scene][concept][method] for f in metrics})
        for method in first["scenes"][scene]:
            line(scene, MEAN, method, {f: found[f]["scenes"][scene][method] for f in metrics})
    if len(first["scenes"]) > 1:
        for method in first["overall"]:
            line(MEAN, MEAN, method, {f: found[f]["overall"][method] for f in metrics})
    return lines


def latex_table(
    rows: Sequence[Row],
    metric: str = "ap",
    titles: Mapping[str, str] | None = None,
    caption: str = "",
    draws: int = DRAWS,
    seed: int = 0,
) -> str:
    """A LaTeX table (booktabs): a row per concept, a column per method, means with intervals, the best in bold.

    Args:
        titles: of methods, which come first and in this order; others keep their names. Each mean is over the photos
            that its method has; `differences` compares over common ones.
        caption: plain text.
    """
    found = estimates(rows, metric, draws, seed)
    titles = titles or {}
    methods = sorted(found["overall"], key=lambda m: list(titles).index(m) if m in titles else len(titles))
    names = [escape_latex(titles.get(method, method)) for method in methods]
    body: list[str] = []
    for scene, concepts in found["concepts"].items():
        if len(found["scenes"]) > 1:
            body += [r"\midrule"] * bool(body)
            body.append(rf"\multicolumn{{{1 + len(methods)}}}{{l}}{{\textit{{{escape_latex(scene)}}}}} \\")
        body += [_line(escape_latex(concept), [of[m] for m in methods]) for concept, of in concepts.items()]
        body.append(_line(r"\textbf{mean}", [found["scenes"][scene][m] for m in methods]))
    if len(found["scenes"]) > 1:
        body += [r"\midrule", _line(r"\textbf{mean of scenes}", [found["overall"][m] for m in methods])]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            *([rf"\caption{{{escape_latex(caption)}}}"] if caption else []),
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


def escape_latex(text: str) -> str:
    """Text with the special characters of LaTeX escaped."""
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


Spread = dict[str, float | int | None]  # mean, sd (sample standard deviation over scenes; None for one), scenes


def scene_spreads(rows: Sequence[Row], metric: str = "ap") -> dict[str, dict[str, Spread]]:
    """Mean and sample standard deviation over scenes, by concept and method; under `MEAN`, of the scenes' means.

    Args:
        rows: one per photo, concept and method. A scene's mean is that of its concepts, a concept's that of its photos.
    """
    photos: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row[metric] is not None:
            photos.setdefault((row["concept"], row["method"], row["scene"]), []).append(row[metric])
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
    """`scene_spreads` as plain text: a row per concept, a column per method, mean ± standard deviation over scenes."""
    cells = [["concept", *titles.values()]]
    for concept, methods in found.items():
        cells.append([concept, *(format_spread(methods.get(method)) for method in titles)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in cells
    )


def format_spread(entry: Spread | None) -> str:
    """Mean and standard deviation as "0.874 ± 0.021"; the mean alone for one scene, a dash for None."""
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
