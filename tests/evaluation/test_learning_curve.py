"""The learning curve of runs that went on from each other."""

import json
from pathlib import Path

import pytest

from onebreath.errors import ConfigError
from onebreath.evaluation.figures.learning_curve import averaged, main
from onebreath.training.state.journal import JOURNAL, read_journal

pytest.importorskip("matplotlib")


def test_each_loss_is_averaged_with_those_before_it() -> None:
    assert averaged([4.0, 2.0, 0.0, 2.0], 2) == [4.0, 3.0, 1.0, 1.0]
    assert averaged([]) == []


def test_runs_are_drawn_one_behind_the_other(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        entries = [{"step": step, "loss": -step / 50} for step in (25, 50)] + [{"step": 50, "validation_loss": -1.0}]
        (tmp_path / name / JOURNAL).write_text("".join(json.dumps(one) + "\n" for one in entries))
    main([str(tmp_path / "first"), str(tmp_path / "second"), "--output", str(tmp_path / "curve.png")])
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is not the folder of a run"):
        main([str(tmp_path / "nothing")])


def test_an_entry_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"step": 25, "loss": 1.0}\n{"step": 50, "lo')
    assert read_journal(tmp_path) == [{"step": 25, "loss": 1.0}]
