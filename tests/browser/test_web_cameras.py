"""Where the photos were taken, in a browser: pyramids at their cameras, pointed at, clicked, and gone again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from helpers.chromium import MARKS
from helpers.made_share_page import apart, seen, wait_until_drawn

pytestmark = MARKS
Open = Callable[..., AbstractContextManager[tuple[Any, list[str]]]]


def place_in_window(page: Any, served: Any, photo: int, other: int) -> tuple[float, float]:
    """Where the camera of one photo is in the window that stands at another photo's camera, px."""
    view = served.viewer.engine.scene.views[other]
    x, y, z = (view.world_to_camera[:, :3] @ served.viewer.engine.scene.views[photo].centre).tolist()
    offset = view.world_to_camera[:, 3].tolist()
    x, y, z = x + offset[0], y + offset[1], z + offset[2]
    box = page.locator("#picture").bounding_box()
    focal = min(box["width"] / view.width * view.fx, box["height"] / view.height * view.fy)
    centre = [box["width"] / 2, box["height"] / 2]
    shift = [(view.cx - view.width / 2) / view.fx, (view.cy - view.height / 2) / view.fy]
    return centre[0] + focal * (x / z + shift[0]), centre[1] + focal * (y / z + shift[1])


def seen_from(served: Any) -> tuple[int, int]:
    """A photo whose camera is in the middle of another photo's view, and that other photo."""
    views = served.viewer.engine.scene.views
    for other, view in enumerate(views):
        for photo, one in enumerate(views):
            point = view.world_to_camera[:, :3] @ one.centre + view.world_to_camera[:, 3]
            x, y = point[0] / point[2], point[1] / point[2]
            inside = abs(x) < 0.35 * view.width / view.fx and abs(y) < 0.35 * view.height / view.fy
            if photo != other and point[2] > 0.3 and inside:
                return photo, other
    raise AssertionError("no camera is in another's view")


def test_cameras_are_drawn_where_they_are_and_fly_to_their_photos(opened: Open, served: Any, keep: Any):
    photo, other = seen_from(served)
    with opened(size=(900, 600)) as (page, errors):
        page.click(f'button[aria-label="Fly to photo {served.photos[other]}"]')
        wait_until_drawn(page)
        plain = seen(page)
        page.focus("#picture")
        page.keyboard.press("f")
        marked = seen(page)
        assert page.get_attribute("#show-cameras", "aria-pressed") == "true"
        x, y = place_in_window(page, served, photo, other)
        changed = np.abs(marked - plain).max(axis=2) > 60
        rows, columns = np.nonzero(changed)
        assert np.hypot(rows - y, columns - x).min() < 8, "the pyramid's apex is at the camera"
        page.mouse.move(x, y)
        page.wait_for_selector("#camera-photo:not([hidden])")
        keep(page, "web_cameras")
        page.mouse.click(x, y)
        wait_until_drawn(page)
        assert page.locator("#photos [data-here]").get_attribute("aria-label") == f"Fly to photo {served.photos[photo]}"
        page.click("#show-cameras")
        page.click(f'button[aria-label="Fly to photo {served.photos[other]}"]')
        wait_until_drawn(page)
        page.mouse.move(5, 300)
        assert apart(seen(page), plain) < 0.5
        assert not errors
