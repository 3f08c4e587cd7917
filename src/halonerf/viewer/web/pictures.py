"""Pictures of the field from any camera, in any light, with words lit up or a word's confidence; PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from halonerf.errors import BadInput
from halonerf.lifting import known_channels, split_known
from halonerf.types import View
from halonerf.viewer.engine import Engine, TextResult
from halonerf.viewer.web.light_table import LightTable
from halonerf.viewer.web.models import Rendering
from halonerf.viewer.web.page_colours import LitWord, with_confidence, with_words
from halonerf.visualization.pictures import to_uint8

PNG_LEVEL = 3  # of compression: half the time of the usual 6, and some per cent more bytes


class PictureMaker:
    """Renders what a window shows. Its methods may be called from any thread.

    Args:
        engine: the opened scene. lights: of the page.
        max_size: px, long side of pictures at most.
    """

    def __init__(self, engine: Engine, lights: LightTable, max_size: int) -> None:
        self.engine, self.lights, self.max_size = engine, lights, max_size

    def png(self, wanted: Rendering, median: float) -> bytes:
        """A picture of the field, PNG. median: the confidence that is shown as one half.

        Raises: BadInput for a light or a text that is unknown, or a size above `max_size`.
        """
        if max(wanted.width, wanted.height) > self.max_size:
            raise BadInput(
                f"expected a picture of at most {self.max_size} px (viewer.picture_size), got {wanted.width} x "
                f"{wanted.height}"
            )
        view = _view_of(wanted)
        code = self.engine.light(self.lights.mix(wanted.light, wanted.to, wanted.blend))
        if wanted.confidence is not None:
            picture = self._confidence(view, code, self.engine.find(wanted.confidence), median)
        else:
            picture = self._words(view, code, wanted)
        return _png(picture)

    def map(self, view: View, text: str) -> bytes:
        """Probability of a text in a view, 255 is certain, a grey PNG."""
        rendering = self.engine.render(view, self.lights.code(0), _channels([self.engine.find(text)]))
        return _png(split_known(rendering)[0][..., 0].numpy())

    def _words(self, view: View, code: Tensor, wanted: Rendering) -> np.ndarray:
        """The field with its words lit up, [H, W, 3] in [0, 1]."""
        found = [self.engine.find(word.text) for word in wanted.words]
        rendering = self.engine.render(view, code, _channels(found))
        picture = rendering.colour.clamp(0, 1).numpy()
        if not found:
            return picture
        lit = [LitWord(word.rgb, word.strength, word.threshold) for word in wanted.words]
        return with_words(picture, split_known(rendering)[0].numpy(), lit)

    def _confidence(self, view: View, code: Tensor, found: TextResult, median: float) -> np.ndarray:
        """The field in the colours of a word's confidence, [H, W, 3] in [0, 1]."""
        known = (found.confidence > 0).float()
        level = found.confidence / (found.confidence + max(median, 1e-9))
        rendering = self.engine.render(view, code, torch.stack([level, known], dim=1))
        assert rendering.channels is not None
        levels, share = rendering.channels.unbind(dim=-1)
        level = (levels / share.clamp(min=1e-4)).clamp(0, 1)
        known = (share / rendering.opacity.clamp(min=1e-4)).clamp(0, 1)
        colour = rendering.colour.clamp(0, 1)
        shown = with_confidence(colour.numpy(), level.numpy(), known.numpy())
        return torch.lerp(colour, torch.from_numpy(shown).to(colour), rendering.opacity[..., None]).numpy()


def checked_pose(numbers: Sequence[float]) -> Tensor:
    """Camera to world [3, 4] from its 12 numbers, row by row. Raises: BadInput where it does not rotate."""
    pose = torch.tensor(numbers).reshape(3, 4)
    if not torch.allclose(pose[:, :3] @ pose[:, :3].T, torch.eye(3), atol=1e-2):
        raise BadInput("expected a pose whose first three columns are orthonormal axes")
    return pose


def _png(picture: np.ndarray) -> bytes:
    """Values in [0, 1], [H, W] or [H, W, 3], as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def _view_of(wanted: Rendering) -> View:
    x, y = wanted.principal
    return View(wanted.width, wanted.height, wanted.focal, wanted.focal, x, y, checked_pose(wanted.pose))


def _channels(found: Sequence[TextResult]) -> Tensor | None:
    """`known_channels` of texts; None without any."""
    if not found:
        return None
    probability = torch.stack([result.probability for result in found], dim=1)
    return known_channels(probability, torch.stack([result.confidence for result in found], dim=1))
