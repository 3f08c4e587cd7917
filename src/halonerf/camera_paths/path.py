"""Camera paths: key-frames of camera, light and words, the smooth way through them, and the JSON that keeps them.

A key-frame's camera looks along +z, x to the right, y down, in the scene's world frame (`halonerf.types`). Lights are
named here and looked up elsewhere: a path knows no field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from halonerf.camera_paths.splines import between, curve, turned
from halonerf.camera_paths.validation import LARGEST, MOST, checked_light, checked_pose, checked_words, number, parsed
from halonerf.errors import BadInput, MissingArtifact
from halonerf.files import write_atomic
from halonerf.rotations import matrices, quaternions
from halonerf.types import View

# A light's name ("mean", "day", a photo's), an appearance code, or a mix of names, each with its weight.
LightName = str | tuple[float, ...] | Mapping[str, float]
LightMix = dict[str | tuple[float, ...], float]  # names and codes with their shares, which add up to one

LONGEST = 4 * 3600.0  # s, of a path
FRAME = "scene world, camera to world, OpenCV axes: x right, y down, z forward"
KIND, VERSION = "halonerf camera path", 1


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """What is seen at one moment of a path.

    camera_to_world: [3, 4], rigid. fov: vertical, radians. light: see `LightName`; a mix adds up to any positive sum.
    words: what is lit up, each a word or an expression. opacity: how strongly, in [0, 1]. threshold: probability from
    which a place is lit. seconds: until the next key-frame; of the last one, until the first in a loop, else unused.

    Raises: BadInput, like `CameraPath`, for what is no camera, light, or number in range.
    """

    camera_to_world: Tensor
    fov: float = 0.9
    light: LightName = "mean"
    words: tuple[str, ...] = ()
    opacity: float = 0.7
    threshold: float = 0.5
    seconds: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "camera_to_world", checked_pose(self.camera_to_world))
        object.__setattr__(self, "light", checked_light(self.light))
        object.__setattr__(self, "words", checked_words(self.words))
        number("fov", self.fov, 0.001, 3.1)
        number("opacity", self.opacity, 0.0, 1.0)
        number("threshold", self.threshold, 0.0, 1.0)
        number("seconds", self.seconds, 0.001, 3600.0)


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame of a film. seconds: since the start. light: shares that add up to one. words: opacity of each.

    The rest as in `KeyFrame`.
    """

    seconds: float
    camera_to_world: Tensor
    fov: float
    light: LightMix
    words: dict[str, float]
    threshold: float

    def view(self, width: int, height: int) -> View:
        """The camera that takes this frame, px."""
        focal = height / 2 / math.tan(self.fov / 2)
        return View(width, height, focal, focal, width / 2, height / 2, self.camera_to_world)


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Key-frames in their order; one, two or more.

    loop: whether it goes on from the last to the first. scene: name of the scene whose frame it is in, "" unknown.
    aspect: width by height that it was made for; None: whatever the film has.
    """

    keyframes: tuple[KeyFrame, ...]
    loop: bool = False
    scene: str = ""
    aspect: float | None = None
    _keys: tuple[Tensor, Tensor, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keyframes", tuple(self.keyframes))
        if not 1 <= len(self.keyframes) <= MOST:
            raise BadInput(f"expected a path of 1 to {MOST} key-frames, got {len(self.keyframes)}")
        if self.aspect is not None:
            number("aspect", self.aspect, 0.05, 20.0)
        if self.duration > LONGEST:
            raise BadInput(f"expected a path of at most {LONGEST:.0f} s, got {self.duration:.0f} s")
        poses = torch.stack([key.camera_to_world for key in self.keyframes]).double()
        views = torch.tensor([[math.log(math.tan(key.fov / 2)), key.threshold] for key in self.keyframes])
        object.__setattr__(self, "_keys", (poses[:, :, 3], quaternions(poses[:, :, :3]), views.double()))

    @property
    def duration(self) -> float:
        """Seconds from start to end; a single key-frame lasts as long as it says."""
        counted = self.keyframes if self.loop or len(self.keyframes) == 1 else self.keyframes[:-1]
        return sum(key.seconds for key in counted)

    def sample(self, fps: float) -> list[Sample]:
        """The path's frames, evenly spaced, at least one.

        The last frame of an open path is its last key-frame; a loop ends one frame before it would repeat its first.
        Places, rotations and the focal length's logarithm follow smooth curves (`halonerf.camera_paths.splines`), light and
        words straight lines: they fade in and out between key-frames.
        """
        number("fps", fps, 0.001, 1000.0)
        count = max(1, round(self.duration * fps))
        steps = count if self.loop else max(1, count - 1)
        return self.at([self.duration * k / steps for k in range(count)])

    def at(self, seconds: list[float]) -> list[Sample]:
        """What is seen at these times since the start, s."""
        times, at = self._times(), torch.tensor(seconds, dtype=torch.float64)
        centres, rotations, zooms = self._keys
        poses = torch.cat(
            [matrices(turned(rotations, times, at, self.loop)), curve(centres, times, at, self.loop)[..., None]], dim=2
        ).float()
        log_half = curve(zooms[:, :1], times, at, self.loop)[:, 0]
        thresholds = between(zooms[:, 1:], times, at, self.loop)[:, 0].tolist()
        mixes = [pure(key.light) for key in self.keyframes]
        shown = [dict.fromkeys(key.words, key.opacity) for key in self.keyframes]
        lights = self._blended([*mixes], times, at)
        words = self._blended([*shown], times, at)
        return [
            Sample(s, pose, 2 * math.atan(math.exp(half)), light, lit, threshold)  # type: ignore[arg-type]
            for s, pose, half, light, lit, threshold in zip(
                seconds, poses, log_half.tolist(), lights, words, thresholds, strict=True
            )
        ]

    def words(self) -> tuple[str, ...]:
        """Every text that some key-frame lights up, in order of appearance."""
        return tuple(dict.fromkeys(word for key in self.keyframes for word in key.words))

    def to_json(self) -> str:
        """What `from_json` reads."""
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
        """The path that `to_json` wrote, or that somebody wrote by hand; only cameras have to be given.

        Raises: BadInput for anything else, whatever it is.
        """
        entry = parsed(text, KIND, VERSION, ("frame", "scene", "loop", "aspect", "keyframes"))
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
        """Write `path`, whole or not at all."""
        write_atomic(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> CameraPath:
        """Raises: MissingArtifact where there is no such file; BadInput where it is no path."""
        if not path.is_file():
            raise MissingArtifact(
                f"expected a camera path at {path}, but there is no such file.\n"
                "Draw one with: halonerf stage=explore; or take a ready one: path=fly_through, orbit or spiral"
            )
        if path.stat().st_size > LARGEST:
            raise BadInput(f"expected a camera path of at most {LARGEST} bytes, got {path.stat().st_size} in {path}")
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (BadInput, UnicodeDecodeError) as error:
            raise BadInput(f"{path} is no camera path: {error}") from error

    def _times(self) -> Tensor:
        """When the key-frames are, s, [K]; of a loop [K + 1]."""
        spans = [key.seconds for key in (self.keyframes if self.loop else self.keyframes[:-1])]
        return torch.tensor([0.0, *spans], dtype=torch.float64).cumsum(dim=0)

    def _blended(self, shares: list[dict], times: Tensor, at: Tensor) -> list[dict]:  # type: ignore[type-arg]
        """Shares of names at every time, without those that have none. shares: of each key-frame."""
        names = list(dict.fromkeys(name for share in shares for name in share))
        table = torch.tensor([[share.get(name, 0.0) for name in names] for share in shares], dtype=torch.float64)
        rows = between(table.reshape(len(shares), len(names)), times, at, self.loop).tolist()
        return [{name: value for name, value in zip(names, row, strict=True) if value > 0} for row in rows]


def pure(light: LightName) -> LightMix:
    """A light as shares of names or codes that add up to one."""
    if not isinstance(light, Mapping):
        return {light: 1.0}
    total = sum(light.values())
    return {name: weight / total for name, weight in light.items() if weight > 0}
