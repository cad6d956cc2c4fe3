"""``onebreath models card``."""

import json

import pytest

from onebreath import zoo
from onebreath.cli import main
from onebreath.evaluation.compare import Result
from onebreath.evaluation.summary import TITLES, summarise
from tests.models import save_model

NAME = "crunet_mr.tiny"


def table(folder, methods=(NAME,), **changes):
    """What an evaluation of two slices leaves; by default with the weights of the model that is there."""
    measures = {"strict": {"overall": {"psnr": 30.0, "ssim": 0.9}, "dynamic": {"psnr": 25.0}}}
    results = [
        Result("cmrxrecon R=4", "A", f"slice {number}", method, "the truth", "", 1.0, True, {}, measures)
        for method in methods
        for number in (1, 2)
    ]
    content = {
        "settings": {"data": "sunnybrook", "patient": ["A"]},
        "titles": TITLES,
        "weights": {NAME: zoo.read_card(zoo.find(NAME)).weights.sha256},
        "groups": summarise(results, list(methods), methods[-1], "strict"),
    }
    path = folder / "table.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_measured_numbers_and_texts_go_into_the_card(root, tmp_path, capsys):
    folder = save_model(root)
    weights = (folder / "weights.safetensors").read_bytes()
    assert main(["models", "card", NAME, "--measured", str(table(tmp_path)), "--summary", "measured now"]) == 0
    card = zoo.read_card(folder)
    assert capsys.readouterr().out == card.to_yaml()
    assert [(one.metric, one.mean, one.n) for one in card.measured] == [
        ("PSNR (dB), strict", 30.0, 2),
        ("SSIM, strict", 0.9, 2),
        ("PSNR (dB), strict, dynamic region", 25.0, 2),
    ]
    assert card.measured[0].data == "sunnybrook, patients A: cmrxrecon R=4"
    assert card.summary == "measured now"
    assert (folder / "weights.safetensors").read_bytes() == weights
    assert main(["models", "card", NAME, "--version", "2"]) == 0
    assert zoo.read_card(folder).measured == card.measured


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda folder: table(folder, ("crunet_mr.other",)), "not among the methods"),
        (lambda folder: table(folder, weights={NAME: 64 * "0"}), "was measured with other weights"),
        (lambda folder: table(folder, weights={}), "does not say which weights"),
        (lambda folder: table(folder, weights=[]), "is no table.json"),
        (lambda folder: folder / "nowhere.json", r"nowhere.json cannot be read: No such file"),
        (lambda folder: (folder / "bad.json").write_text("[]") and folder / "bad.json", "is no table.json"),
    ],
)
def test_a_table_without_the_model_changes_nothing(root, tmp_path, capsys, make, text):
    folder = save_model(root)
    before = (folder / "card.yaml").read_bytes()
    assert main(["models", "card", NAME, "--measured", str(make(tmp_path))]) == 1
    assert text in capsys.readouterr().err
    assert (folder / "card.yaml").read_bytes() == before
