"""The page's modules: that one script of their text does what the modules do, and that each is used."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from halonerf.page.document import LIVE_ENTRY, SHARED_ENTRY, STYLE, app_files, bundled, imports_of

MODULES = sorted(name for name in app_files() if name.endswith(".js"))
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:const|let|function|class) ([^=({;]+)", re.MULTILINE)
ONLY_LIVE = re.compile(r"\b(fetch|WebSocket|XMLHttpRequest|import)\b")


def text(name: str) -> str:
    return app_files()[name].decode()


def reached(entry: str) -> set[str]:
    found, todo = set(), [entry]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += imports_of(name)
    return found


def declared(name: str) -> list[str]:
    """Names that a module declares at its top level."""
    lists = DECLARED.findall(text(name))
    lines = re.findall(r"^(?:export )?(?:const|let) (.+);", text(name), re.MULTILINE)
    more = [re.findall(r"(?:^|, )(\w+) = ", line) for line in lines]
    return sorted({name.strip() for name in lists} | {name for names in more for name in names})


def test_every_module_is_part_of_one_of_the_pages():
    assert reached(SHARED_ENTRY) | reached(LIVE_ENTRY) == set(MODULES)
    assert STYLE in app_files()


def test_both_pages_draw_with_the_same_modules():
    both = reached(SHARED_ENTRY) & reached(LIVE_ENTRY)
    assert {"main.js", "draw.js", "sort.js", "colours.js", "camera.js", "words.js", "photos.js", "lights.js"} <= both
    assert reached(SHARED_ENTRY) - both == {SHARED_ENTRY}


@pytest.mark.parametrize("entry", [SHARED_ENTRY, LIVE_ENTRY])
def test_no_name_is_declared_twice(entry: str):
    """In one function scope the second would be an error, or replace the first."""
    counts = Counter(name for module in reached(entry) for name in declared(module))
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_import_is_understood_and_comes_from_where_it_is_exported(name: str):
    assert len(re.findall(r"\bimport\b", re.sub(r"^//.*$", "", text(name), flags=re.MULTILINE))) == len(
        imports_of(name)
    )
    for names, module in re.findall(r'^import \{([^}]*)\} from "\./([a-z_]+\.js)";', text(name), re.MULTILINE):
        for imported in names.split(","):
            assert imported.strip() in declared(module)
            assert re.search(rf"^export .*\b{re.escape(imported.strip())}\b", text(module), re.MULTILINE)
            assert len(re.findall(rf"\b{re.escape(imported.strip())}\b", text(name))) > 1, "imported and not used"


def test_the_bundle_declares_before_it_runs_and_asks_nobody():
    script = bundled(SHARED_ENTRY)
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    assert not ONLY_LIVE.search(re.sub(r"//.*", "", script))
    places = {name: script.index(text(name).splitlines()[0]) for name in reached(SHARED_ENTRY)}
    for name in reached(SHARED_ENTRY):
        assert all(places[imported] < places[name] for imported in imports_of(name)), "a circle"
    assert script.rstrip().endswith("start(readDocument());\n})();")


def test_no_module_turns_text_into_markup_or_code():
    for name in MODULES:
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text(name)
        )
