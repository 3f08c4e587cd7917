"""People's masks in place of a network: what is drawn is known, what is not drawn is unknown, never "no"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from halonerf.errors import BadInput

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
CERTAIN = 1e-4  # probability of the side that was not drawn; a logit of 9.2, which eight bits round to 0 and 255

Place = Callable[[str, np.ndarray], np.ndarray]


class Masks:
    """Looks masks up in `<path>/<concept>/<photo without its ending>.png`, half and above is "yes".

    Masks are drawn on upright original photos. Whoever shows photos in another frame (undistorted ones, say) tells
    how to get there with `place`.

    Args:
        path: folder with one folder a concept.

    Raises: BadInput where the folder is missing or holds no mask.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_dir():
            raise BadInput(
                f"expected a folder of masks <concept>/<photo>.png, but '{path}' is not a folder.\n"
                "Name it with: segmenter=masks segmenter.path=DIR"
            )
        self._files = {folder.name: _masks_below(folder) for folder in sorted(self.path.iterdir()) if folder.is_dir()}
        self._files = {concept: files for concept, files in self._files.items() if files}
        if not self._files:
            raise BadInput(
                f"expected masks <concept>/<photo>.png in '{path}', found no picture in any folder of it.\n"
                "Name another folder with: segmenter=masks segmenter.path=DIR"
            )
        self._place: Place | None = None

    def vocabulary(self) -> list[str]:
        """The concepts somebody drew, sorted."""
        return list(self._files)

    def place(self, place: Place | None) -> None:
        """Set how a drawing gets into the frame of the photos that `encode` sees.

        place(name, drawing [h, w] float32 in [0, 1] on the upright original) -> [H, W], the photo's size.
        """
        self._place = place

    def encode(self, images: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Every concept's mask of the photos called `names`: `probability` [B, C, H, W], NaN where none was drawn.

        Raises: BadInput without names, or where a mask does not fit its photo or cannot be read.
        """
        if names is None or len(names) != len(images):
            raise BadInput(
                f"expected the names of the {len(images)} photos to look their masks up, got {names and list(names)}.\n"
                "Photos without names need a network: segmenter=timm_text"
            )
        height, width = images.shape[-2:]
        maps = images.new_full((len(images), len(self._files), height, width), torch.nan)
        for row, name in enumerate(names):
            for column, files in enumerate(self._files.values()):
                path = files.get(name) or files.get(_stem(name))
                if path is not None:
                    drawn = self._drawn(path, name, height, width)
                    maps[row, column] = torch.from_numpy(drawn).to(maps)
        return {"probability": maps}

    def decode(self, encoded: dict[str, Tensor], prompts: Sequence[str]) -> Tensor:
        """Logits [B, P, H, W]: NaN for what nobody drew.

        A prompt finds its folder whatever its case, spaces or underscores, and by its regular English plural.
        """
        probability = encoded["probability"]
        columns = {_key(concept): column for column, concept in enumerate(self._files)}
        unknown = torch.full_like(probability[:, 0], torch.nan)
        found = [columns.get(_key(prompt)) for prompt in prompts]
        chosen = torch.stack([unknown if c is None else probability[:, c] for c in found], dim=1)
        return torch.logit(chosen, eps=CERTAIN)

    def _drawn(self, path: Path, name: str, height: int, width: int) -> np.ndarray:
        """One mask in the photo's frame, float32 [height, width] in [0, 1]; edges are soft after resampling."""
        drawing = _read(path)
        if self._place is not None:
            return self._place(name, drawing)
        if abs(drawing.shape[1] / drawing.shape[0] * height / width - 1) > 0.02 + 1.0 / min(height, width):
            raise BadInput(
                f"mask {path} is {drawing.shape[1]}x{drawing.shape[0]} px, but its photo '{name}' is "
                f"{width}x{height} px: another shape.\nDraw it on the upright photo, at any resolution."
            )
        return interpolate(torch.from_numpy(drawing)[None, None], size=(height, width), mode="area")[0, 0].numpy()


def _masks_below(folder: Path) -> dict[str, Path]:
    """Pictures below `folder` by their path without ending; nested photo ids are nested folders."""
    files = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in ENDINGS and p.name[0] != "." and p.is_file())
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _key(concept: str) -> str:
    """`concept` without case, separators and a regular plural's ending."""
    words = concept.casefold().replace("_", " ").replace("-", " ").split()
    if words and len(words[-1]) > 3 and words[-1].endswith("s") and not words[-1].endswith("ss"):
        words[-1] = words[-1][:-1]
    return " ".join(words)


def _read(path: Path) -> np.ndarray:
    """A mask as float32 0 or 1, [h, w]: bright is "yes"; where a picture is partly transparent, so is what is opaque
    if all of it has one tone (black ink on nothing), and transparent is "no"."""
    try:
        with Image.open(path) as picture:
            has_alpha = "A" in picture.getbands() or "transparency" in picture.info
            opaque = np.asarray(picture.convert("RGBA").getchannel("A")) >= 128 if has_alpha else None
            grey = np.asarray(picture.convert("L"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"expected a picture of a mask in {path}, but it cannot be read: {error}.\n"
            "Draw it again, or take the file away: the photo is then unknown."
        ) from error
    drawn = grey >= 128
    if opaque is not None and not opaque.all():
        ink = grey[opaque]
        one_tone = ink.size > 0 and int(ink.max()) - int(ink.min()) < 128
        drawn = opaque if one_tone else drawn & opaque
    return drawn.astype(np.float32)
