"""Panel of films: key-frames of camera, light and words; preview, save and render the path through them."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import TYPE_CHECKING

from halonerf.camera_paths.path import OWN_THRESHOLD, AppearanceSpec, CameraPath, KeyFrame, Sample
from halonerf.errors import BadInput
from halonerf.viewer.cameras import place_camera, pose_of, view_of
from halonerf.viewer.film import check_lights, render_film
from halonerf.viewer.saved_files import save_numbered, temporary_file
from halonerf.viewer.window import Window, plain
from halonerf.visualization.pictures import encoded

if TYPE_CHECKING:
    from viser import GuiEvent, GuiUploadButtonHandle

PREVIEW_FPS = 20
MIN_RECOLOUR_S = 0.25  # between two changes of light and words in a preview
MAX_KEYFRAMES = 200


class PathPanel:
    """The key-frames of one window. upload_mb: MB of an uploaded path at most."""

    def __init__(self, window: Window, upload_mb: float) -> None:
        self.window, self.gui, self.upload_mb = window, window.client.gui, upload_mb
        self.keyframes: list[KeyFrame] = []
        self._playing, self._rendering = threading.Event(), threading.Lock()
        gui = self.gui
        self.notice = gui.add_html(plain("No key-frames yet."))
        self.seconds = gui.add_slider("Seconds to the next", 0.5, 20.0, 0.5, 3.0)
        add = gui.add_button("Add key-frame")
        drop = gui.add_button("Remove the last")
        self.loop = gui.add_checkbox("Closed loop", False)
        play = gui.add_button("Preview")
        save = gui.add_button("Save path")
        load = gui.add_upload_button("Load path …", mime_type="application/json")
        with gui.add_folder("Picture and film"):
            self.size = gui.add_slider("Pixels, long side", 160, 3840, 80, 960)
            picture = gui.add_button("Save picture")
            self.fps = gui.add_slider("Frames a second", 5, 60, 1, 25)
            film = gui.add_button("Render film")
            self.progress = gui.add_progress_bar(0, visible=False)
        add.on_click(lambda _: self._add())
        drop.on_click(lambda _: self._drop())
        play.on_click(lambda _: self._play())
        save.on_click(lambda _: self._save())
        load.on_upload(self._load)
        picture.on_click(lambda _: self._picture())
        film.on_click(lambda _: self._film())

    def path(self) -> CameraPath:
        """The camera path through the key-frames. Raises: BadInput where there are none."""
        if not self.keyframes:
            raise BadInput("expected key-frames: add one first")
        return CameraPath(tuple(self.keyframes), loop=self.loop.value, scene=self.window.engine.scene.name)

    def _add(self) -> None:
        with self.window.report_errors():
            if len(self.keyframes) >= MAX_KEYFRAMES:
                raise BadInput(f"expected at most {MAX_KEYFRAMES} key-frames")
            session, camera = self.window.session, self.window.client.camera
            self.keyframes.append(
                KeyFrame(
                    pose_of(camera),
                    camera.fov,
                    self._light(),
                    tuple(word.result.text for word in session.highlighted),
                    session.opacity,
                    session.threshold or OWN_THRESHOLD,
                    self.seconds.value,
                )
            )
            self._update_notice()

    def _light(self) -> AppearanceSpec:
        """The light as a path stores it: by name, or as one appearance code where an upload is in the mix."""
        mix = self.window.session.mix
        names = {name: weight for name, weight in mix.items() if isinstance(name, str)}
        if len(names) < len(mix):
            return tuple(self.window.session.code().tolist())
        return next(iter(names)) if len(names) == 1 else names

    def _drop(self) -> None:
        if self.keyframes:
            self.keyframes.pop()
        self._update_notice()

    def _update_notice(self) -> None:
        number = len(self.keyframes)
        length = self.path().duration if number else 0.0
        self.notice.content = plain(f"{number} key-frame{'s' * (number != 1)}, {length:.1f} s")

    def _play(self) -> None:
        """Play the path in the window; a second click stops it."""
        if self._playing.is_set():
            self._playing.clear()
            return
        self._playing.set()
        try:
            with self.window.report_errors():
                self._play_samples(self.path().sample(PREVIEW_FPS))
        finally:
            self._playing.clear()
            if not self.window.closed:
                self.window.refresh()

    def _play_samples(self, samples: list[Sample]) -> None:
        """Set the camera at every sample; light and words, which recolour every Gaussian, less often."""
        start, recoloured_at, displayed = time.monotonic(), -math.inf, None
        for sample in samples:
            wait = start + sample.seconds - time.monotonic()
            if not self._playing.is_set() or self.window.closed:
                return
            if wait < -1 / PREVIEW_FPS:
                continue  # too late: skip this sample
            time.sleep(max(0.0, wait))
            place_camera(self.window.client, sample.camera_to_world, sample.fov)
            state = (sample.light, sample.words, sample.threshold)
            if state != displayed and time.monotonic() - recoloured_at > MIN_RECOLOUR_S:
                self.window.preview(*state)
                recoloured_at, displayed = time.monotonic(), state

    def _save(self) -> None:
        with self.window.report_errors():
            content = self.path().to_json().encode()
            self._deliver("paths", "path.json", content)

    def _load(self, event: GuiEvent[GuiUploadButtonHandle]) -> None:
        with self.window.report_errors():
            content = event.target.value.content
            try:
                path = check_lights(CameraPath.from_json(content.decode()), self.window.engine)
            except (UnicodeDecodeError, json.JSONDecodeError) as error:
                raise BadInput(f"expected a path that this panel saved, got something else: {error}") from error
            self.keyframes, self.loop.value = list(path.keyframes), path.loop
            self._update_notice()

    def _picture(self) -> None:
        with self.window.report_errors():
            view = view_of(self.window.client.camera, int(self.size.value), enlarge=True)
            self._deliver("pictures", "picture.png", encoded(self.window.session.picture(view)))

    def _film(self) -> None:
        """Render the path's film while the window stays usable; closing the window cancels it."""
        if not self._rendering.acquire(blocking=False):
            self.window.notify("One film at a time.")
            return
        self.progress.visible = True
        try:
            with self.window.report_errors():
                view = view_of(self.window.client.camera, int(self.size.value), enlarge=True)
                size = (view.width, view.height)
                with temporary_file(self.window.folder / "films", ".mp4") as file:
                    render_film(file, self.path(), self.window.engine, size, self.fps.value, self._progress)
                    self._deliver("films", "film.mp4", file.read_bytes())
        finally:
            self._rendering.release()
            if not self.window.closed:
                self.progress.visible = False

    def _progress(self, share: float) -> bool:
        """Show the share that is rendered; whether the window is still open."""
        if not self.window.closed:
            self.progress.value = 100 * share
        return not self.window.closed

    def _deliver(self, kind: str, name: str, content: bytes) -> None:
        """Save a file in the artifact folder and send it to the browser."""
        path = save_numbered(self.window.folder / kind, name, content)
        self.window.client.send_file_download(path.name, content, save_immediately=True)
        self.window.notify(f"Saved as {kind}/{path.name}")
