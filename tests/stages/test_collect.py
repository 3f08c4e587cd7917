"""The `collect` stage: a killed run is resumed by sources that can resume, and restarted for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from halonerf.data.collection import Collection, write_collection
from halonerf.data.commons.corpus import Commons
from halonerf.data.procedural.landmark import ProceduralLandmark
from halonerf.data.sources.photo_folder import PhotoFolder
from halonerf.protocols import PhotoCorpus, ResumableSource, SceneSource
from halonerf.stages.collect import Collect
from halonerf.types import ImageRecord


class Restarted:
    """A source that needs an empty folder."""

    name = "made"

    def identity(self) -> str:
        return "made"

    def collect(self, folder: Path) -> None:
        found = sorted(path.name for path in folder.iterdir())
        write_collection(folder, self.name, "photos", [ImageRecord(name) for name in found])


class Resumed(Restarted):
    """A source that resumes from what lies in the folder."""

    resumes = True


@pytest.mark.parametrize(("source", "found"), [("Restarted", []), ("Resumed", ["a.jpg", "b.jpg"])])
def test_files_of_a_killed_run(tmp_path: Path, source: str, found: list[str]):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("left by a killed run")
    stage = Collect({"_target_": f"{__name__}.{source}"})
    stage.bind(tmp_path, {}, seed=0)
    assert not stage.done("collection")
    stage.predict_step("collection", 0)
    assert stage.done("collection")
    assert [record.image_id for record in Collection.read(tmp_path).records()] == found
    assert stage.summary()["photos"] == len(found)


def test_which_sources_resume_and_which_corpora_fetch_photos(tmp_path: Path):
    commons, landmark, folder = Commons("A minster"), ProceduralLandmark("cathedral"), PhotoFolder(str(tmp_path))
    assert all(isinstance(source, SceneSource) for source in (commons, landmark, folder))
    assert [isinstance(source, ResumableSource) for source in (commons, landmark, folder)] == [True, True, False]
    assert [isinstance(source, PhotoCorpus) for source in (commons, landmark, folder)] == [True, False, False]
