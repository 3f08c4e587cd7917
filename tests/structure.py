"""Figures of the package's structure: `python tests/structure.py [FOLDER]` prints them for a checkout.

Imports are read from the syntax trees, so that those inside functions count, too.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

COMPONENTS = (
    "distillers", "retrievers", "miners", "segmenters", "fields", "loss_terms", "transients", "heads",
)  # fmt: skip
SERVICES = ("loading", "rendering", "evaluation")
LAYERS = {
    **dict.fromkeys(("__init__", "errors", "exports", "config", "types", "protocols"), 0),
    **dict.fromkeys(("process", "files", "rotations", "colmap_log", "volume", "picture_files"), 0),
    **dict.fromkeys(("artifacts", "factory", "geometry", "splatting", "losses", "metrics", "masks", "annotations"), 1),
    **dict.fromkeys(("expressions", "lifting", "hub", "matching", "sift", "camera_paths", "visualization"), 1),
    **dict.fromkeys(("thresholds",), 1),
    **dict.fromkeys((*COMPONENTS, "data", "pipeline", "prediction"), 2),
    **dict.fromkeys(SERVICES, 3),
    "queries": 4,
    "page": 5,
    "stages": 6, "viewer": 6,
    "cli": 7, "api": 8, "__main__": 8,
}  # fmt: skip
FREE = 1  # parts up to this layer may import each other within it, without circles of files
DATA_ORDER = {
    **dict.fromkeys(("collection", "delimited", "photo_names", "photo_io", "undistortion", "augmentation"), 0),
    **dict.fromkeys(("sfm", "labels", "formats", "commons", "corpora", "procedural"), 1),
    **dict.fromkeys(("scene", "sources", "training"), 2),
    "pairs": 3,
}  # fmt: skip


class Package:
    """The files of a checkout's package and what each imports.

    files: module name, such as "halonerf.heads.lifted", to its file. imports: module name to the modules it imports.
    """

    def __init__(self, root: Path) -> None:
        self.root = root / "src" / "halonerf"
        self.files = {self._name(path): path for path in sorted(self.root.rglob("*.py"))}
        self.trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in self.files.items()}
        self.imports = {name: {m for m in self._imported(tree) if m != name} for name, tree in self.trees.items()}

    def _name(self, path: Path) -> str:
        parts = path.relative_to(self.root.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _imported(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in self.files)
            elif isinstance(node, ast.ImportFrom) and node.module in self.files:
                for alias in node.names:
                    below = f"{node.module}.{alias.name}"
                    yield below if below in self.files else str(node.module)

    def is_package(self, name: str) -> bool:
        return self.files[name].name == "__init__.py"

    def edges(self) -> Iterator[tuple[str, str]]:
        """Pairs of modules of which the first imports the second."""
        for name, imported in self.imports.items():
            yield from ((name, other) for other in sorted(imported))


def part(name: str) -> str:
    """The top-level part of the package that a module belongs to, which has the layer."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


def stage_of(name: str) -> str | None:
    """The stage whose module this is, None outside `stages` and for the specs of all."""
    pieces = name.split(".")
    return pieces[2] if pieces[1:2] == ["stages"] and pieces[2:3] not in ([], ["specs"]) else None


def upward_imports(package: Package) -> list[str]:
    """Imports of a layer above, or of another part of the same layer where that is not allowed."""
    found = []
    for name, other in package.edges():
        here, there = part(name), part(other)
        if there in (here, "__init__"):
            continue
        low, high = LAYERS.get(there, 99), LAYERS.get(here, 99)
        if low > high or (low == high > FREE):
            found.append(f"{name} imports {other}")
    return found


def component_imports(package: Package) -> list[str]:
    """Stages, services and the viewer reach components by config only; services and queries not the pipeline either."""
    found = []
    for name, other in package.edges():
        here, there = part(name), part(other)
        forbidden = set[str]()
        if here in (*SERVICES, "queries", "page", "stages", "viewer"):
            forbidden |= set(COMPONENTS)
        if here in (*SERVICES, "queries", "page", "viewer"):
            forbidden |= {"pipeline"}
        if there in forbidden:
            found.append(f"{name} imports {other}")
    return found


def stage_to_stage_imports(package: Package) -> list[str]:
    """Imports of one stage's modules by another's."""
    return [
        f"{name} imports {other}"
        for name, other in package.edges()
        if stage_of(name) and stage_of(other) and stage_of(name) != stage_of(other)
    ]


def viewer_to_stage_imports(package: Package) -> list[str]:
    return [f"{name} imports {other}" for name, other in package.edges() if part(name) == "viewer" and stage_of(other)]


def data_order_violations(package: Package) -> list[str]:
    """Imports inside `data` against `DATA_ORDER`."""
    found = []
    for name, other in package.edges():
        if part(name) == part(other) == "data" and name.count(".") > 1 and other.count(".") > 1:
            here, there = name.split(".")[2], other.split(".")[2]
            if here != there and DATA_ORDER.get(there, 99) > DATA_ORDER.get(here, -1):
                found.append(f"{name} imports {other}")
    return found


def imports_of_own_package(package: Package) -> list[str]:
    """Modules that import the `__init__` of a package they lie in, instead of a module."""
    return [
        f"{name} imports {other}"
        for name, other in package.edges()
        if other != "halonerf" and package.is_package(other) and name.startswith(f"{other}.")
    ]


def circles(package: Package) -> list[list[str]]:
    """Groups of modules that import each other in a circle (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(package.imports[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for name in package.files:
        if name not in index:
            visit(name)
    return found


def largest_folder(package: Package) -> tuple[str, int]:
    """The folder with the most modules, without procedural/ (one building element a file), and how many."""
    modules = (path for path in package.files.values() if path.name not in ("__init__.py", "__main__.py"))
    counts = Counter(str(path.parent.relative_to(package.root)) for path in modules)
    counts = Counter({folder: count for folder, count in counts.items() if not folder.endswith("procedural")})
    return counts.most_common(1)[0]


def small_files_with_one_importer(package: Package, lines: int = 60) -> list[str]:
    """Modules of fewer than `lines` lines that one other module alone imports, both in the same folder."""
    importers = Counter(other for _, other in package.edges())
    return [
        name
        for name, path in package.files.items()
        if importers[name] == 1
        and path.name != "__init__.py"
        and len(path.read_text(encoding="utf-8").splitlines()) < lines
    ]


def main() -> None:
    """Print the figures of the checkout that is named, or of this one."""
    package = Package(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])
    modules = [name for name, path in package.files.items() if path.name != "__init__.py"]
    folder, count = largest_folder(package)
    print(f"modules                                        {len(modules)}")
    print(f"largest folder (without procedural/)           {folder}: {count}")
    print(f"files under 60 lines with one importer         {len(small_files_with_one_importer(package))}")
    print(f"circles of files                               {len(circles(package))}")
    print(f"upward imports                                 {len(upward_imports(package))}")
    print(f"stage-to-stage imports                         {len(stage_to_stage_imports(package))}")
    print(f"viewer-to-stage imports                        {len(viewer_to_stage_imports(package))}")
    print(f"imports of components by stages and services   {len(component_imports(package))}")
    print(f"imports against the order inside data/         {len(data_order_violations(package))}")


if __name__ == "__main__":
    main()
