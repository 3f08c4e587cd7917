"""Mistakes a user can mend. The command line prints their text without a traceback and exits with 2."""

from __future__ import annotations

from importlib.util import find_spec


class UserError(Exception):
    """Says what was expected, what came, and what to type next."""


class BadInput(UserError):
    """Data or options that cannot be worked with."""


class MissingArtifact(UserError):
    """A stage's output is needed and is not there."""


class StorageError(UserError):
    """The artifact folder cannot be written: read-only, full, or held by another run."""


class MissingExtra(UserError):
    """An optional engine is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this option needs the package '{package}', which is not installed.\n"
            f"Install it with: pip install 'halonerf[{extra}]'"
        )


def require(package: str, extra: str) -> None:
    """Check that an optional package is installed, without importing it.

    Raises: MissingExtra, which names the extra to install.
    """
    if find_spec(package) is None:
        raise MissingExtra(package, extra)


def first_line(error: Exception) -> str:
    """First line of an error's text, or its class name where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
