"""Files of fitted fields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from halonerf.errors import BadInput
from halonerf.fields.field_file import read_field, write_field

WRITE = """
import sys
from pathlib import Path
import torch
from halonerf.fields.field_file import write_field

write_field(Path(sys.argv[1]), "gaussians", {"means": torch.zeros(2, 3)}, ["b.jpg", "a.jpg"])
"""


def test_a_field_is_read_as_it_was_written(tmp_path: Path):
    means = torch.arange(6.0).reshape(3, 2).T  # not contiguous
    write_field(tmp_path / "field.safetensors", "gaussians", {"means": means}, ["b.jpg", "ä.jpg"])
    tensors, names = read_field(tmp_path / "field.safetensors", "gaussians")
    torch.testing.assert_close(tensors["means"], means)
    assert names == ["b.jpg", "ä.jpg"]


def test_equal_fields_have_equal_bytes(tmp_path: Path):
    """In several processes: the order of a map's entries in the header differs between processes."""
    places = [tmp_path / f"{k}.safetensors" for k in range(4)]
    for place in places:
        subprocess.run([sys.executable, "-c", WRITE, str(place)], check=True)
    assert len({place.read_bytes() for place in places}) == 1


def test_another_kind_of_field_and_numbers_that_are_not_finite_are_refused(tmp_path: Path):
    path = tmp_path / "field.safetensors"
    write_field(path, "ha_nerf", {"means": torch.tensor([0.0, torch.nan])}, [])
    with pytest.raises(BadInput, match=r"expected a field of gaussians in .*, got 'ha_nerf'"):
        read_field(path, "gaussians")
    with pytest.raises(BadInput, match="1 of 2 in means"):
        read_field(path, "ha_nerf")


def test_a_file_that_holds_no_field_is_refused(tmp_path: Path):
    save_file({"means": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"field": "gaussians"})
    with pytest.raises(BadInput, match="got another file, or one of an earlier version"):
        read_field(tmp_path / "other.safetensors", "gaussians")
