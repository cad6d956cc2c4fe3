import argparse

import numpy as np
import pytest

from onebreath.simulation.command import add_arguments, run
from onebreath.simulation.options import ScanOptions


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_defaults_of_the_command_are_those_of_the_options() -> None:
    args = vars(parse("out.h5"))
    assert ScanOptions(**{name: value for name, value in args.items() if name != "output"}) == ScanOptions()


def test_command_writes_scan_and_truth(tmp_path, capsys) -> None:
    path = tmp_path / "scan.h5"
    words = "--matrix 40 36 --slices 1 --phases 2 --coils 8 --acs-lines 8 --no-ecg --extra-lines dummy navigation"
    assert run(parse(str(path), *words.split())) == 0
    assert path.exists()
    with np.load(tmp_path / "scan.npz") as truth:
        assert truth["image"].shape == (1, 2, 40, 36)
    assert "0 waveforms" in capsys.readouterr().out


def test_unknown_choice_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        parse("out.h5", "--mode", "gated")
    assert "retrospective" in capsys.readouterr().err
