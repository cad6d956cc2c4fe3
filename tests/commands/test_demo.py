import re

from PIL import Image

from onebreath.cli import main
from onebreath.commands import demo


def test_the_demo_leaves_what_it_promises(tmp_path, capsys):
    folder = tmp_path / "demo"
    assert main(["demo", "--output", str(folder), "--slices", "1"]) == 0
    table = (folder / "table.md").read_text().splitlines()
    rows = {line.split("|")[1].strip(): [float(cell) for cell in line.split("|")[2:-1]] for line in table[2:]}
    assert list(rows) == list(demo.CONFIGS)
    assert rows["CG-SENSE"][0] > rows["zero-filled"][0] + 2, "SENSE must beat zero filling clearly"
    assert rows["L+S"][0] > rows["CG-SENSE"][0] + 3, "so must what knows about time, at this acceleration"
    assert rows["default"][0] > max(rows["L+S"][0], rows["CRUNet-MR"][0]) - 0.1, "the better of them, or their mean"
    assert "images.png" in capsys.readouterr().out
    with Image.open(folder / "cine.gif") as loop:
        assert loop.n_frames == 12
        assert loop.width / loop.height > (len(demo.CONFIGS) + 1) * 360 / (290 + 80)
    assert (folder / "images.png").stat().st_size > 10_000
    chosen = re.search(
        r"The choice among candidates: ([^<]*) by held-back lines: [^<]*", (folder / "report.html").read_text()
    )
    assert chosen is not None
    assert "low_rank_sparse" in chosen[0] and "crunet_mr.noise_aware" in chosen[0]


def test_a_failing_chain_is_an_error_with_its_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "CONFIGS", {"missing": "Onebreath_Cine_Missing.xml"})
    assert main(["demo", "--output", str(tmp_path), "--slices", "1"]) == 1
    assert "Onebreath_Cine_Missing.xml" in capsys.readouterr().err
