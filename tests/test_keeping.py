"""Files that are written whole or not at all."""

import pytest

from onebreath.keeping import replacing


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
