"""Camera paths: key-frames of camera, appearance and words, their smooth interpolation, and their JSON format.

A key-frame's camera looks along +z, x to the right, y down, in the scene's world frame (`halonerf.types`). A path knows
no field: appearances are only named here, and become codes in `halonerf.rendering.appearance`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from halonerf.camera_paths.splines import interpolate_linear, interpolate_rotations, interpolate_smooth
from halonerf.camera_paths.validation import (
    MAX_FILE_BYTES,
    MAX_KEYFRAMES,
    checked_appearance,
    checked_number,
    checked_pose,
    checked_words,
    parsed_json,
)
from halonerf.errors import BadInput, MissingArtifact
from halonerf.files import write_atomic
from halonerf.rotations import matrices, quaternions
from halonerf.types import View

# The name of an appearance ("mean", "day", a photo's name), an appearance code, or names with their weights in a mix.
AppearanceSpec = str | tuple[float, ...] | Mapping[str, float]
AppearanceMix = dict[str | tuple[float, ...], float]  # names and codes with their shares, which add up to one

MAX_DURATION_S = 4 * 3600.0
FRAME = "scene world, camera to world, OpenCV axes: x right, y down, z forward"
KIND, VERSION = "halonerf camera path", 1
OWN_THRESHOLD = 0.0  # of a key-frame: each word has its own


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """Camera, appearance and highlighted words at one moment of a path.

    camera_to_world: [3, 4], rigid. fov: vertical, radians. light: the appearance; weights of a mix have any positive
    sum. words: that are highlighted, each a word or an expression. opacity: of the highlights, in [0, 1]. threshold:
    probability from which a place is highlighted; 0: each word's own (`halonerf.thresholds`). seconds: until the next
    key-frame; of the last one, until the first in a loop, else unused.

    Raises: BadInput, like `CameraPath`, for an invalid camera or appearance, or a number out of range.
    """

    camera_to_world: Tensor
    fov: float = 0.9
    light: AppearanceSpec = "mean"
    words: tuple[str, ...] = ()
    opacity: float = 0.7
    threshold: float = OWN_THRESHOLD
    seconds: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "camera_to_world", checked_pose(self.camera_to_world))
        object.__setattr__(self, "light", checked_appearance(self.light))
        object.__setattr__(self, "words", checked_words(self.words))
        checked_number("fov", self.fov, 0.001, 3.1)
        checked_number("opacity", self.opacity, 0.0, 1.0)
        checked_number("threshold", self.threshold, 0.0, 1.0)
        checked_number("seconds", self.seconds, 0.001, 3600.0)


@dataclass(frozen=True, eq=False)
class Sample:
    """An interpolated moment of a path, one frame of a film.

    seconds: since the start. light: the appearance, shares that add up to one. words: opacity of each. The rest as in
    `KeyFrame`.
    """

    seconds: float
    camera_to_world: Tensor
    fov: float
    light: AppearanceMix
    words: dict[str, float]
    threshold: float

    def view(self, width: int, height: int) -> View:
        """The pinhole camera of this frame, `width` x `height` px."""
        focal = height / 2 / math.tan(self.fov / 2)
        return View(width, height, focal, focal, width / 2, height / 2, self.camera_to_world)


@dataclass(frozen=True, eq=False)
class CameraPath:
    """One or more key-frames in order.

    loop: whether the last key-frame is followed by the first. scene: name of the scene in whose frame the cameras are,
    "" where unknown. aspect: width by height of the film that the path is made for; None: any.

    Raises: BadInput for more than `MAX_KEYFRAMES` key-frames or `MAX_DURATION_S` seconds.
    """

    keyframes: tuple[KeyFrame, ...]
    loop: bool = False
    scene: str = ""
    aspect: float | None = None
    _keys: tuple[Tensor, Tensor, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keyframes", tuple(self.keyframes))
        if not 1 <= len(self.keyframes) <= MAX_KEYFRAMES:
            raise BadInput(f"expected a path of 1 to {MAX_KEYFRAMES} key-frames, got {len(self.keyframes)}")
        if self.aspect is not None:
            checked_number("aspect", self.aspect, 0.05, 20.0)
        if self.duration > MAX_DURATION_S:
            raise BadInput(f"expected a path of at most {MAX_DURATION_S:.0f} s, got {self.duration:.0f} s")
        poses = torch.stack([key.camera_to_world for key in self.keyframes]).double()
        views = torch.tensor(
            [
                [math.log(math.tan(key.fov / 2)), key.threshold, float(key.threshold == OWN_THRESHOLD)]
                for key in self.keyframes
            ]
        )
        object.__setattr__(self, "_keys", (poses[:, :, 3], quaternions(poses[:, :, :3]), views.double()))

    @property
    def duration(self) -> float:
        """Seconds from start to end; a path of one key-frame lasts that key-frame's `seconds`."""
        counted = self.keyframes if self.loop or len(self.keyframes) == 1 else self.keyframes[:-1]
        return sum(key.seconds for key in counted)

    def sample(self, fps: float) -> list[Sample]:
        """The frames of the path at `fps` frames per second, evenly spaced, at least one.

        The last frame of an open path is its last key-frame; a loop ends one frame before it would repeat its first.
        Positions, rotations and the logarithm of the focal length are interpolated smoothly
        (`halonerf.camera_paths.splines`), appearances and the opacity of words linearly.
        """
        checked_number("fps", fps, 0.001, 1000.0)
        count = max(1, round(self.duration * fps))
        steps = count if self.loop else max(1, count - 1)
        return self.at([self.duration * k / steps for k in range(count)])

    def at(self, seconds: list[float]) -> list[Sample]:
        """The interpolated moments at times since the start, s."""
        times, at = self._times(), torch.tensor(seconds, dtype=torch.float64)
        centres, rotations, zooms = self._keys
        poses = torch.cat(
            [
                matrices(interpolate_rotations(rotations, times, at, self.loop)),
                interpolate_smooth(centres, times, at, self.loop)[..., None],
            ],
            dim=2,
        ).float()
        log_half = interpolate_smooth(zooms[:, :1], times, at, self.loop)[:, 0]
        threshold, own = interpolate_linear(zooms[:, 1:], times, at, self.loop).T
        # beside a key-frame with its words' own thresholds there is nothing to interpolate: the nearer one counts
        thresholds = torch.where(own < 0.5, threshold / (1 - own).clamp(min=0.5), OWN_THRESHOLD).tolist()
        mixes = self._interpolated([appearance_mix(key.light) for key in self.keyframes], times, at)
        words = self._interpolated([dict.fromkeys(key.words, key.opacity) for key in self.keyframes], times, at)
        return [
            Sample(s, pose, 2 * math.atan(math.exp(half)), mix, opacities, threshold)
            for s, pose, half, mix, opacities, threshold in zip(
                seconds, poses, log_half.tolist(), mixes, words, thresholds, strict=True
            )
        ]

    def words(self) -> tuple[str, ...]:
        """The words of all key-frames, each once, in the order of their first key-frame."""
        return tuple(dict.fromkeys(word for key in self.keyframes for word in key.words))

    def to_json(self) -> str:
        """The path as JSON, which `from_json` reads."""
        keyframes = [
            {
                "camera_to_world": [[float(x) for x in row] for row in key.camera_to_world],
                "fov": key.fov,
                "light": list(key.light) if isinstance(key.light, tuple) else key.light,
                "words": list(key.words),
                "opacity": key.opacity,
                "threshold": key.threshold,
                "seconds": key.seconds,
            }
            for key in self.keyframes
        ]
        head = {"kind": KIND, "version": VERSION, "frame": FRAME, "scene": self.scene}
        whole = {**head, "loop": self.loop, "aspect": self.aspect, "keyframes": keyframes}
        return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> CameraPath:
        """The path of a JSON text; of a key-frame only the camera is required.

        Raises: BadInput for any other text.
        """
        entry = parsed_json(text, KIND, VERSION, ("frame", "scene", "loop", "aspect", "keyframes"))
        keys = ("camera_to_world", "fov", "light", "words", "opacity", "threshold", "seconds")
        keyframes = []
        for place, given in enumerate(entry.pop("keyframes")):
            if not isinstance(given, dict) or "camera_to_world" not in given or set(given) - set(keys):
                got = f"the keys {sorted(given)}" if isinstance(given, dict) else type(given).__name__
                raise BadInput(
                    f"expected key-frame {place} with camera_to_world and any of {', '.join(keys)}; got {got}"
                )
            try:
                keyframes.append(KeyFrame(**given))
            except BadInput as error:
                raise BadInput(f"key-frame {place}: {error}") from error
        entry.pop("frame", None)
        return cls(tuple(keyframes), **entry)

    def write(self, path: Path) -> None:
        """Write the JSON file `path` atomically."""
        write_atomic(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> CameraPath:
        """The path in a JSON file.

        Raises: MissingArtifact where there is no such file; BadInput for a file that holds no camera path.
        """
        if not path.is_file():
            raise MissingArtifact(
                f"expected a camera path at {path}, but there is no such file.\n"
                "Make one with: halonerf stage=explore; or use a preset: path=fly_through, orbit or spiral"
            )
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(
                f"expected a camera path of at most {MAX_FILE_BYTES} bytes, got {path.stat().st_size} in {path}"
            )
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (BadInput, UnicodeDecodeError) as error:
            raise BadInput(f"{path} is no camera path: {error}") from error

    def _times(self) -> Tensor:
        """Times of the key-frames, s, [K]; of a loop [K + 1]."""
        spans = [key.seconds for key in (self.keyframes if self.loop else self.keyframes[:-1])]
        return torch.tensor([0.0, *spans], dtype=torch.float64).cumsum(dim=0)

    def _interpolated(self, shares: list[dict[Any, float]], times: Tensor, at: Tensor) -> list[dict[Any, float]]:
        """Shares of names at the times `at`, without those that are zero. shares: of each key-frame."""
        names = list(dict.fromkeys(name for share in shares for name in share))
        table = torch.tensor([[share.get(name, 0.0) for name in names] for share in shares], dtype=torch.float64)
        rows = interpolate_linear(table.reshape(len(shares), len(names)), times, at, self.loop).tolist()
        return [{name: value for name, value in zip(names, row, strict=True) if value > 0} for row in rows]


def appearance_mix(spec: AppearanceSpec) -> AppearanceMix:
    """An appearance as names or codes with their shares, which add up to one."""
    if not isinstance(spec, Mapping):
        return {spec: 1.0}
    total = sum(spec.values())
    return {name: weight / total for name, weight in spec.items() if weight > 0}
