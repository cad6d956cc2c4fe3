"""A file's last reconstruction is the one that was made last, whatever its name."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.images.reading import images_of, read_images, read_series
from tests.images.files import image, write


def _file(path: Path, *groups: str) -> Path:
    """A file with a reconstruction in each group; the pixels say which."""
    for number, group in enumerate(groups, 1):
        write(path, {1: [image(np.full((1, 2, 2), number, np.float32))]}, group)
    return path


def _foreign(path: Path, times: bool, *groups: str) -> Path:
    """The same, as a program writes it that counts no groups; `times` says whether arrays tell when they were made."""
    own = _file(path.with_name("own.h5"), *groups)
    with h5py.File(own) as source, h5py.File(path, "w") as file:
        for name in groups:
            for part, values in source[name]["image_1"].items():
                made = f"{name}/image_1/{part}"
                file.create_dataset(made, data=values[()], dtype=values.dtype, track_times=times)
    return path


def _last(path: Path) -> float:
    with images_of(path) as found:
        value = found[0].values(0).max()
    assert read_images(path)[0].values(0).max() == read_series(path)[0].values(0).max() == value
    return float(value)


def test_the_last_group_is_the_one_made_last_not_that_of_the_last_name(tmp_path: Path) -> None:
    path = _file(tmp_path / "i.h5", "zeta", "alpha")
    assert _last(path) == 2
    assert read_images(path, "zeta")[0].values(0).max() == 1
    assert _last(_file(path, "beta")) == 1  # its only image says 1: added to the two others


@pytest.mark.parametrize("first", ["2026-01-01 00:00:00", "2025-12-31 23:59:59"])
def test_groups_named_by_date_tell_their_order(tmp_path: Path, first: str) -> None:
    path = _foreign(tmp_path / "i.h5", False, first, "2026-01-01 00:00:01")
    assert _last(path) == 2


def test_arrays_that_know_when_they_were_written_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _foreign(tmp_path / "i.h5", True, "zeta", "alpha")
    with h5py.File(path) as file:
        assert h5py.h5g.get_objinfo(file["alpha/image_1/data"].id).mtime > 0
    seconds = {b"zeta": 7, b"alpha": 7}

    class Told:
        """HDF5's answer for arrays that were written at these seconds."""

        def __init__(self, place: object) -> None:
            self.mtime = seconds[h5py.h5i.get_name(place).split(b"/")[1]]

    monkeypatch.setattr(h5py.h5g, "get_objinfo", Told)
    with pytest.raises(ScanError, match="which was made last"):
        read_images(path)
    seconds[b"alpha"] += 1
    assert _last(path) == 2


def test_where_nothing_tells_the_group_must_be_named(tmp_path: Path) -> None:
    path = _foreign(tmp_path / "i.h5", False, "zeta", "alpha")
    with pytest.raises(ScanError, match=r"alpha, zeta.*option -G"):
        read_images(path)
    assert read_images(path, "alpha")[0].values(0).max() == 2
    assert _last(_foreign(tmp_path / "one.h5", False, "zeta")) == 1
