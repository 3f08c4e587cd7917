"""Features of photos cached in memory up to a budget; a photo appears in many pairs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor

from torch import Tensor


class FeatureCache:
    """A least recently used cache of photos' features.

    Args:
        compute: from a photo's index to its features.
        budget_mb: of all features kept; those of the last request are always kept.
    """

    def __init__(self, compute: Callable[[int], Mapping[str, Tensor]], budget_mb: float) -> None:
        self.compute, self.budget = compute, budget_mb * 1e6
        self._kept: OrderedDict[int, Mapping[str, Tensor]] = OrderedDict()

    def get(self, photos: Iterable[int], pool: Executor) -> dict[int, Mapping[str, Tensor]]:
        """The features of each photo by index; missing ones are computed in parallel in `pool`."""
        wanted = sorted(set(photos))
        missing = [i for i in wanted if i not in self._kept]
        self._kept.update(zip(missing, pool.map(self.compute, missing), strict=True))
        for i in wanted:
            self._kept.move_to_end(i)
        found = {i: self._kept[i] for i in wanted}
        while len(self._kept) > len(wanted) and self.bytes() > self.budget:
            self._kept.popitem(last=False)
        return found

    def bytes(self) -> int:
        """Bytes of all features kept."""
        return sum(_bytes(features) for features in self._kept.values())


def _bytes(features: Mapping[str, Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in features.values())
