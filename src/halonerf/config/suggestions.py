"""Messages for names that do not exist, with the nearest that do and all of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def unknown_choice(name: str, options: Sequence[str], group: str) -> str:
    """Message for a name that a config group does not have, with the nearest that it has."""
    near = difflib.get_close_matches(name, options, 2, 0.6)
    meant = f" Did you mean {group}={near[0]}?" if near else ""
    listed = f"\nOptions of {group}: {', '.join(option for option in options if option[0] != '_')}." if options else ""
    return f"there is no {group}={name}.{meant}{listed}"


def unknown_option(name: str, known: Sequence[str], place: str, elsewhere: Sequence[str] = ()) -> str:
    """Message for an option that does not exist, with the nearest names that do.

    Args:
        known: names of the options beside it. place: its dotted name.
        elsewhere: dotted names of similar options in other places, named where none beside it is similar.
    """
    parent = place.rpartition(".")[0]
    beside = [f"{parent}.{other}".lstrip(".") for other in difflib.get_close_matches(name, known, 3, 0.6)]
    near = beside or elsewhere
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    names = ", ".join(sorted(known)) or "none"
    return f"there is no option {place}.{meant}\nOptions of {parent or 'the config'}: {names}."
