"""Arguments of ``onebreath evaluate`` from files."""

import argparse
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from onebreath.evaluation.command import add_arguments

SETTINGS = Path(__file__).parents[2] / "models" / "evaluation"


def parse(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def write(folder, text):
    (folder / "some.yaml").write_text(text)
    return folder / "some.yaml"


def test_a_file_gives_arguments_and_what_follows_replaces_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SOMEWHERE", "/data")
    file = write(tmp_path, "data: [$SOMEWHERE/a, b]\nacceleration: [4, 24]\nmask: vista:0\nseed: 3\nmatrix: [96, 80]\n")
    args = parse("--settings", file, "--acceleration", 8)
    assert (args.data, args.mask, args.seed, args.matrix) == (["/data/a", "b"], ["vista:0"], 3, [96, 80])
    assert args.acceleration == [8]
    assert args.coils == parse().coils


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("acceleration: [fast]", "argument --acceleration: invalid int value: 'fast'"),
        ("speed: 3", "unrecognized arguments: --speed 3"),
        ("settings: other.yaml", "settings cannot name other settings"),
        ("- 3", "expected arguments and values, found list"),
        ("[", "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, capsys, text, problem):
    with pytest.raises(SystemExit):
        parse("--settings", write(tmp_path, text))
    assert problem in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse("--settings", tmp_path / "none.yaml")
    assert "none.yaml cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted(SETTINGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_settings_that_ship_are_valid(file):
    args = parse("--settings", file)
    assert any(fnmatchcase(args.reference, method) for method in args.methods)
    assert args.data
