"""What is said of arguments that Hydra cannot read: the quoted form gives the text, character by character."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from halonerf import __version__
from halonerf.config.explanations import quoted


@pytest.mark.parametrize(
    "value",
    [
        "fotos/Köln",
        "a=b",
        "St. Mary's",
        'say "cheese"',
        "both ' and \"",
        "par(en)s",
        "br[ack]et",
        "{curly}",
        "hash#1",
        "a,b",
        "~/photos",
        "C:\\photos\\",
        'back\\"slash',
        "$HOME",
        "日本",
        " space ",
        "1889",
    ],
)
def test_the_quoted_form_is_the_text(value: str):
    typed = shlex.split(quoted(f"scene.path={value}"))
    assert len(typed) == 1
    override = OverridesParser.create().parse_override(typed[0])
    assert override.key_or_group == "scene.path"
    assert override.value() == value


def test_the_version_is_its_own(halonerf: Callable[..., subprocess.CompletedProcess[str]]):
    shown = halonerf("--version")
    assert (shown.returncode, shown.stdout.strip()) == (0, f"halonerf {__version__}")


def test_a_bad_argument_ends_the_process_with_2(halonerf: Callable[..., subprocess.CompletedProcess[str]]):
    shown = halonerf("stage=collect", "scene=photos", "scene.path=it's")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "Traceback" not in shown.stderr
    assert "Quote text" in shown.stderr
