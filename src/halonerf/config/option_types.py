"""Types for the options of stages and components, with the range of each.

A constructor's annotations are the schema of its YAML: `halonerf.pipeline.validation` checks every value against them
before a plan runs. Plain types serve, too (`bool`, `str | None`, `Literal["best", "coverage"]`, `Sequence[str]`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Interval, MinLen, Predicate

LARGEST = 2**31 - 1  # what every library takes as a count


def has_target(value: Mapping[str, Any]) -> bool:
    """Whether a mapping names a class as its `_target_`."""
    return isinstance(value.get("_target_"), str)


PositiveInt = Annotated[int, Interval(ge=1, le=LARGEST)]
NonNegativeInt = Annotated[int, Interval(ge=0, le=LARGEST)]
Pixels = Annotated[int, Interval(ge=16, le=65535)]  # side of a picture
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]  # what NumPy and PyTorch take

PositiveFloat = Annotated[float, Interval(gt=0)]
NonNegativeFloat = Annotated[float, Interval(ge=0)]
Fraction = Annotated[float, Interval(ge=0, le=1)]
PositiveFraction = Annotated[float, Interval(gt=0, le=1)]
ProperFraction = Annotated[float, Interval(gt=0, lt=1)]
HalfOpenFraction = Annotated[float, Interval(ge=0, lt=1)]

Text = Annotated[str, MinLen(1)]
Component = Annotated[Mapping[str, Any], Predicate(has_target)]  # built later from its config
