"""The weighted sum of named loss terms."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from halonerf.errors import BadInput
from halonerf.protocols import LossContext, LossTerm


class WeightedSum:
    """See `halonerf.protocols.Loss`. A term added in the config needs a class and an entry, and no other change.

    Args:
        terms: by name, in the order in which they are added up.

    Raises: BadInput for a component that is not a `halonerf.protocols.LossTerm`, and where no term has a weight.
    """

    def __init__(self, terms: Mapping[str, LossTerm]) -> None:
        for name, term in terms.items():
            if not isinstance(term, LossTerm):
                raise BadInput(
                    f"expected loss.terms.{name} to be a loss term, with the attributes weight and needs_normals and "
                    f"callable (halonerf.protocols.LossTerm), got {type(term).__name__}"
                )
        self.terms = {name: term for name, term in terms.items() if term.weight}
        if not self.terms:
            raise BadInput(
                f"expected a loss term with a weight other than 0, got {', '.join(terms) or 'no terms'}.\n"
                "Give one a weight: loss.terms.photometric.weight=1"
            )

    @property
    def needs_normals(self) -> bool:
        """See `halonerf.protocols.Loss`."""
        return any(term.needs_normals for term in self.terms.values())

    def __call__(self, context: LossContext) -> dict[str, Tensor]:
        """Weight times value of each term, a scalar, by name; terms of weight 0 are left out."""
        return {name: term.weight * term(context) for name, term in self.terms.items()}
