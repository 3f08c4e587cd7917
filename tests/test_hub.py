"""Pretrained models by hub id or folder: advice where reading fails, folders replaced atomically."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from torch import nn

from halonerf import hub
from halonerf.errors import BadInput, MissingArtifact, first_line
from halonerf.hub import PretrainedSource, hub_in_reach, write_pretrained


def source(weights: str = "some/model", hint: str = "") -> PretrainedSource:
    return PretrainedSource(weights, "a Made model", "made/base", "part=made part.weights", "part=small", hint)


class Made(nn.Module):
    """Stands in for a class of transformers: reads a file "kind" of a folder."""

    loaded: Any = None

    @classmethod
    def from_pretrained(cls, weights: str, output_loading_info: bool = False, **options: Any) -> Any:
        folder = Path(weights)
        if not folder.is_dir():
            raise OSError(f"{weights} is not there\nand a long explanation")
        kind = (folder / "kind").read_text()
        if kind == "other":
            raise ValueError("another architecture")
        made = cls()
        made.loaded = options
        return (made, {"missing_keys": ["b", "a"] if kind == "partial" else []}) if output_loading_info else made

    def save_pretrained(self, folder: Path) -> None:
        (folder / "kind").write_text("made")


def folder_of(root: Path, kind: str) -> str:
    (root / kind).mkdir()
    (root / kind / "kind").write_text(kind)
    return str(root / kind)


def test_a_model_comes_in_evaluation_mode_with_its_options(tmp_path: Path):
    where = source(folder_of(tmp_path, "made"))
    model = where.model(Made, dtype="float32")
    assert not model.training
    assert model.loaded == {"dtype": "float32"}
    assert where.part(Made, padding_side="left").loaded == {"padding_side": "left"}


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_of(tmp_path, "made")
    assert isinstance(source("~/made").part(Made), Made)


def test_missing_weights_come_with_a_command():
    with pytest.raises(
        MissingArtifact, match=r"hf download made/base(.|\n)*part\.weights=DIR(.|\n)*part=small"
    ) as caught:
        source().model(Made)
    assert "long explanation" not in str(caught.value)


def test_without_a_network_the_cache_alone_is_read(monkeypatch: pytest.MonkeyPatch):
    class Cached(Made):
        @classmethod
        def from_pretrained(cls, weights: str, output_loading_info: bool = False, **options: Any) -> Any:
            asked.append(options)
            if weights == "some/model":
                raise OSError("nothing cached")
            return cls()

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(hub, "hub_in_reach", lambda: False)
    assert isinstance(source("cached/model").part(Cached), Cached)
    with pytest.raises(MissingArtifact, match=r"cannot be reached(.|\n)*hf download made/base(.|\n)*weights=DIR"):
        source().part(Cached)
    monkeypatch.setattr(hub, "hub_in_reach", lambda: True)
    source("cached/model").part(Cached)
    assert asked == [{"local_files_only": True}, {"local_files_only": True}, {}]


@pytest.mark.parametrize("answers", [True, False])
def test_a_hub_that_does_not_answer_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch, answers: bool):
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, and says nothing unless told to
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        if answers:
            threading.Thread(target=answer, daemon=True).start()
        hub_in_reach.cache_clear()
        began = time.monotonic()
        assert hub_in_reach(20.0 if answers else 0.5) is answers
        assert time.monotonic() - began < 20.0
        hub_in_reach.cache_clear()


def test_other_and_partial_weights_are_reported(tmp_path: Path):
    with pytest.raises(BadInput, match=r"another architecture(.|\n)*a hint"):
        source(folder_of(tmp_path, "other"), "a hint").model(Made)
    with pytest.raises(BadInput, match="2 are missing or of another shape, the first: a"):
        source(folder_of(tmp_path, "partial")).model(Made)


def test_a_folder_is_replaced_as_a_whole_or_kept(tmp_path: Path):
    class Failing(Made):
        def save_pretrained(self, folder: Path) -> None:
            (folder / "half").write_text("")
            raise OSError("disk full")

    folder = tmp_path / "model"
    write_pretrained(folder, Made())
    (folder / "old").write_text("")
    with pytest.raises(OSError, match="disk full"):
        write_pretrained(folder, Made(), Failing())
    assert sorted(path.name for path in folder.iterdir()) == ["kind", "old"]
    write_pretrained(folder, Made())
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "what a failure left is removed"
    assert [path.name for path in folder.iterdir()] == ["kind"]


def test_first_line_of_an_error():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError("\n\none")) == "one"
    assert first_line(KeyError()) == "KeyError"
