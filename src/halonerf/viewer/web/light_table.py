"""The lights of the page by number: the mean, the times of day, every photo's, then those of uploaded photos."""

from __future__ import annotations

import threading

from torch import Tensor

from halonerf.camera_paths.path import AppearanceMix, AppearanceSpec
from halonerf.errors import BadInput
from halonerf.rendering.appearance import MEAN
from halonerf.viewer.engine import Engine
from halonerf.viewer.web.models import Light

MAX_UPLOADED = 256  # lights of uploaded photos, an appearance code each
MAX_LABEL_CHARS = 40  # of an uploaded file's name


class LightTable:
    """Lights by number and by name. Numbers stay: uploaded photos' lights are added at the end.

    Its methods may be called from any thread.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lock = engine, threading.Lock()
        photos, times = engine.photos, engine.times_of_day
        self._lights = [Light(name="mean of all photos", photo=None)]
        self._lights += [Light(name=hour, photo=photos.index(photo)) for hour, photo in times.items()]
        self._lights += [Light(name=f"photo {name}", photo=number) for number, name in enumerate(photos)]
        self._own = len(self._lights)
        self._codes: list[tuple[float, ...]] = []  # of uploaded photos, in the order of their lights

    def __len__(self) -> int:
        return len(self._lights)

    def __getitem__(self, number: int) -> Light:
        return self._lights[number]

    def all(self) -> list[Light]:
        """All lights, in the order of their numbers."""
        return list(self._lights)

    def add(self, name: str, content: bytes) -> int:
        """The number of the light of an uploaded photo. name: of its file.

        Raises: BadInput for the reasons of `Engine.encode`, or where there are `MAX_UPLOADED` already.
        """
        code = tuple(self._engine.encode(content).tolist())
        label = "".join(letter for letter in name if letter.isprintable())[:MAX_LABEL_CHARS]
        with self._lock:
            if len(self._codes) >= MAX_UPLOADED:
                raise BadInput(
                    f"expected at most {MAX_UPLOADED} lights of uploaded photos; start stage=explore again for more"
                )
            self._codes.append(code)
            self._lights.append(Light(name=f"upload {len(self._codes)}: {label}", photo=None))
            return len(self._lights) - 1

    def appearance(self, number: int) -> str | tuple[float, ...]:
        """A light as camera paths name it: "mean", a photo's name, or the code of an uploaded photo."""
        if number >= self._own:
            return self._codes[number - self._own]
        photo = self._lights[number].photo
        return MEAN if photo is None else self._engine.photos[photo]

    def code(self, number: int) -> Tensor:
        """The appearance code [A] of a light."""
        return self._engine.light(self.appearance(number))

    def mix(self, light: str, to: str | None, blend: float) -> AppearanceMix:
        """Appearances with their shares, which add up to one. light, to: names; blend: share of the second.

        Raises: BadInput for a name that no light has.
        """
        second = to if blend and to is not None else light
        mix: AppearanceMix = {}
        for name, share in ((light, 1 - blend), (second, blend)):
            key = self.appearance(self._number(name))
            mix[key] = mix.get(key, 0.0) + share
        return {key: share for key, share in mix.items() if share}

    def as_path_light(self, mix: AppearanceMix) -> AppearanceSpec:
        """A mix as a camera path stores it: names, or one appearance code where an uploaded photo's is in it."""
        names = {name: share for name, share in mix.items() if isinstance(name, str)}
        if len(names) < len(mix):
            return tuple(self._engine.light(mix).tolist())
        return next(iter(names)) if len(names) == 1 else names

    def shares(self, mix: AppearanceMix) -> dict[int, float]:
        """A mix by the numbers of lights, without what no light of the table is."""
        found: dict[int, float] = {}
        for key, share in mix.items():
            number = self._number_of(key)
            if number is not None:
                found[number] = found.get(number, 0.0) + share
        return found

    def _number_of(self, appearance: str | tuple[float, ...]) -> int | None:
        if not isinstance(appearance, str):
            return self._own + self._codes.index(appearance) if appearance in self._codes else None
        for number, light in enumerate(self._lights[: self._own]):
            if appearance in (light.name, self.appearance(number)):
                return number
        return None

    def _number(self, name: str) -> int:
        for number, light in enumerate(self._lights):
            if light.name == name:
                return number
        names = ", ".join(light.name for light in self._lights[:5])
        raise BadInput(f"expected the name of a light, such as {names}; got '{name}'")
