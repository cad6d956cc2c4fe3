"""Files that are written whole or not at all."""

import os

import pytest

from onebreath.keeping import replacing, write_text


def test_a_file_is_replaced_at_the_end_or_stays_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_texts_may_hold_names_of_files_that_are_not_utf_8(tmp_path):
    name = os.fsdecode(b"sc\xe9an.h5")
    write_text(tmp_path / "page.html", f"of {name} and \u65e5.h5")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "of sc\ufffdan.h5 and \u65e5.h5"
