"""The page's HTML: one self-contained file, or what a server sends whose modules the browser loads one by one.

The modules in `app` are ES modules with names that differ over all of them, so that the self-contained file is their
text in the order of their imports, without the words `import` and `export`; nothing is built.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from halonerf.visualization.html_pages import Page

APP = Path(__file__).with_name("app")
SHARED_ENTRY, LIVE_ENTRY = "shared.js", "live.js"  # the modules that the shared and the live page start with
TEMPLATE, STYLE = "page.html", "page.css"
IMPORT = re.compile(r'^import (?:\{[^}]*\} from )?"\./([a-z_]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:const|let|function|class)\b)", re.MULTILINE)


def write_shared_page(path: Path, title: str, facts: Any, splats: str) -> None:
    """Atomically write the page as one file.

    Args:
        facts: what the script reads, as JSON; texts in it are only ever shown as text.
        splats: base64 of the arrays that `facts` names.
    """
    script = bundled(SHARED_ENTRY)
    Page(title, APP).write(
        path,
        TEMPLATE,
        live=False,
        style=Markup((APP / STYLE).read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        facts=Markup(escaped_json(facts)),
        splats=Markup(splats),
    )


def live_page(title: str) -> str:
    """The HTML of the page whose style, modules and data come from the server that sends it."""
    return Page(title, APP).text(TEMPLATE, live=True)


@cache
def app_files() -> dict[str, bytes]:
    """The styles and the modules by file name, read once: what a server may send, and nothing else."""
    paths = [*APP.glob("*.js"), *APP.glob("*.css")]
    return {path.name: path.read_bytes() for path in sorted(paths)}


def bundled(entry: str) -> str:
    """The module `entry` and all that it imports as one script without imports, in one function scope."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for imported in imports_of(name):
                visit(imported)
            order.append(name)

    visit(entry)
    return '(() => {\n"use strict";\n' + "\n".join(_without_imports(name) for name in order) + "})();\n"


def imports_of(name: str) -> list[str]:
    """The modules that a module of `app` imports, in order."""
    return IMPORT.findall(_text(name))


def _without_imports(name: str) -> str:
    return EXPORT.sub("", IMPORT.sub("", _text(name)))


def _text(name: str) -> str:
    return app_files()[name].decode("utf-8")


def escaped_json(value: Any) -> str:
    """JSON for a script element, in ASCII: no character in it can end the element or a line."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
