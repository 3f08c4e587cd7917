"""Arguments of constructors are read from source as the imported classes have them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from halonerf import protocols
from halonerf.config.option_types import Component
from halonerf.config.sources import config_root
from halonerf.factory import locate
from halonerf.pipeline.arguments import signature_of
from helpers.configs import load_option, option_files

CONF = config_root() / "conf"
TARGETS = sorted(
    {
        str(load_option(path)._target_)
        for group in CONF.iterdir()
        if group.is_dir() and group.name not in ("hydra", "logger", "trainer")
        for path in option_files(group)
    }
)
PROTOCOLS = {kind for _, kind in inspect.getmembers(protocols, inspect.isclass)}

ELSEWHERE = """
from __future__ import annotations
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Optional

Size = Literal["small", "large"]

class Base:
    def __init__(
        self, size: Size = "small", *, count: "int" = 3, other: nothing_of_the_kind.Thing = None, **more
    ) -> None: ...

class Below(Base):
    pass

class Untyped:
    def __init__(self, a, b=1): ...

class Bare:
    pass

@dataclass
class Data:
    path: str
    sides: Optional[Sequence[float]] = None
"""


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_read_is_what_the_class_has(target: str):
    kind = locate(target)
    hints = get_type_hints(kind.__init__, include_extras=True)
    read = signature_of(target).arguments
    parameters = inspect.signature(kind).parameters
    assert list(read) == list(parameters)
    for name, argument in read.items():
        inner = {hints[name], *getattr(hints[name], "__args__", ())}
        if not inner & PROTOCOLS:
            assert argument.type == hints[name], name
        assert argument.required == (parameters[name].default is inspect.Parameter.empty)
    assert not any(argument.type is Any for argument in read.values()) or target.endswith("Projected")


def test_protocols_stand_for_components():
    assert signature_of("halonerf.data.training.MaskedPhotos").arguments["source"].type == Component


def test_reading_imports_nothing():
    code = (
        "import sys; from halonerf.pipeline.arguments import signature_of;"
        "signature_of('halonerf.stages.Reconstruct'); signature_of('lightning.pytorch.trainer.trainer.Trainer');"
        "assert not {'torch', 'lightning'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_classes_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "argued_elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(str(tmp_path))
    below = signature_of("argued_elsewhere.Below")
    assert below.open
    assert below.arguments["size"].type.__args__ == ("small", "large")
    assert below.arguments["count"].type is int
    assert below.arguments["other"].type is Any
    assert [a.required for a in signature_of("argued_elsewhere.Untyped").arguments.values()] == [True, False]
    assert signature_of("argued_elsewhere.Bare").arguments == {}
    data = signature_of("argued_elsewhere.Data").arguments  # imported: a dataclass has no __init__ in its source
    assert data["path"].type is str
    assert data["path"].required
    assert not data["sides"].required
