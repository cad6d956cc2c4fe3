"""The page of the papers' claims: every number is found where it is said to stand, and the page is up to date."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from onebreath.cli import _parser
from onebreath.errors import ConfigError
from onebreath.evaluation.figures.ablation import STUDIES
from onebreath.evaluation.papers import CLAIMS, PAGE, OfCard, OfTable, Parameters, main, number, page, read_claims


@pytest.fixture
def repository():
    return Path(__file__).parents[2]


def test_the_page_is_what_the_command_makes(repository):
    made = page(read_claims(repository / CLAIMS), repository)
    stored = (repository / PAGE).read_text(encoding="utf-8")
    assert stored == made, "a number or claim has changed: run python -m onebreath.evaluation.papers"


def test_numbers_come_from_tables_cards_and_networks(tmp_path, repository):
    file = tmp_path / "a.md"
    tables = ("| a | b |\n|---|---|\n| x | 1 |\n", "| a | c | d |\n|---|---|---|\n| **x** | y | 2 |\n| x | z | 3 |\n")
    file.write_text("\nhere\n\n".join(tables))
    assert number(OfTable(kind="table", file=file.name, row="x", column="b"), tmp_path) == "x: 1"
    one = OfTable(kind="table", file=file.name, after="here", row="x | z", column="d", unit="s", label="it")
    assert number(one, tmp_path) == "it: 3 s"
    assert number(Parameters(kind="parameters", architecture="crnn_mri"), repository) == "1,488,970"
    card = yaml.safe_load((repository / "models" / "a_liknet.cine_kt" / "card.yaml").read_text())
    first = card["measured"][0]
    found = number(
        OfCard(kind="card", model="a_liknet.cine_kt", data=first["data"], metric=first["metric"]), repository
    )
    assert found.startswith(f"a_liknet.cine_kt: {first['mean']:.4g} ± ")


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        (OfTable(kind="table", file="none.md", row="x", column="b"), "there is no file"),
        (OfTable(kind="table", file="a.md", row="y", column="b"), "has a row 'y' and a column 'b'"),
        (OfTable(kind="table", file="a.md", row="x", column="c"), "has a row 'x' and a column 'c'"),
        (OfTable(kind="table", file="a.md", after="there", row="x", column="b"), "does not hold the text 'there'"),
    ],
)
def test_numbers_that_are_not_there_are_an_error(tmp_path, measured, text):
    (tmp_path / "a.md").write_text("| a | b |\n|---|---|\n| x | 1 |\n")
    with pytest.raises(ConfigError, match=text):
        number(measured, tmp_path)


def test_a_card_without_the_measurement_is_an_error(repository):
    with pytest.raises(ConfigError, match="holds 0 measurements of 'taste'"):
        number(OfCard(kind="card", model="crunet_mr.cine", data="R=8", metric="taste"), repository)


def test_a_claim_without_a_number_says_why(tmp_path):
    claims = tmp_path / "papers.yaml"
    claim = {"claim": "it is good", "published": "very"}
    content = {"papers": [{"title": "P", "reference": "R", "claims": [claim]}]}
    claims.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="'it is good' has no number of ours and does not say why"):
        read_claims(claims)
    claim["why"] = "no data"
    claims.write_text(yaml.safe_dump(content))
    output = tmp_path / "page.md"
    assert main(["--claims", str(claims), "--root", str(tmp_path), "--output", str(output)]) == 0
    assert "| it is good | very | not measured |  |  |" in output.read_text()
    assert "- it is good: no data" in output.read_text()
    assert main(["--claims", str(tmp_path / "none.yaml"), "--output", str(output)]) == 1


def commands():
    """Every command of the file of claims, as words without the variables that are set for it."""
    papers = read_claims(Path(__file__).parents[2] / CLAIMS).papers
    texts = {claim.command for paper in papers for claim in paper.claims if claim.command}
    for text in sorted(texts):
        yield text, [[word for word in shlex.split(one) if not re.match("[A-Z_]+=", word)] for one in text.split(";")]


@pytest.mark.parametrize(("text", "parts"), list(commands()))
def test_every_command_of_a_claim_can_be_given(text, parts):
    for words in parts:
        if words[0] == "onebreath":
            _parser(words[1]).parse_args(words[1:])
        else:
            assert words[:2] == ["python", "-m"], text
            assert importlib.util.find_spec(words[2]) is not None, text


@pytest.mark.parametrize(
    ("text", "parts"), [one for one in commands() if "figures.ablation" in one[0]], ids=lambda one: str(one)[-40:]
)
def test_an_ablations_evaluation_names_its_own_variants(text, parts):
    (train, evaluate) = parts
    study = train[train.index("--study") + 1] if "--study" in train else "a_liknet"
    named = [word.partition(".")[2] for word in evaluate if re.fullmatch(r"(crunet_mr|a_liknet|mr_ipt)\.\w+", word)]
    assert set(named) <= set(STUDIES[study]), text
