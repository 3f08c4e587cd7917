"""One self-contained HTML file: styles, script and data inside, and a policy that lets only its own script run."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from halonerf.visualization.html_pages import Page

TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("data", "splats", "sort", "draw", "camera", "flight", "colours", "pointer", "panel", "main")


def write_share_page(path: Path, title: str, facts: Any, splats: str) -> None:
    """Atomically write the page.

    Args:
        facts: what the script reads, as JSON; texts in it are only ever shown as text.
        splats: base64 of the arrays that `facts` names.
    """
    script = read_script()
    Page(title, TEMPLATES).write(
        path,
        "page.html",
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        facts=Markup(escaped_json(facts)),
        splats=Markup(splats),
    )


def read_script() -> str:
    """The page's script: the files of `SCRIPTS` concatenated in one function scope."""
    files = [(TEMPLATES / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(files) + "})();\n"


def escaped_json(value: Any) -> str:
    """JSON for a script element, in ASCII: no character in it can end the element or a line."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
