"""``onebreath models match`` and ``rules``."""

import re

import pytest

from onebreath.cli import main
from onebreath.commands.matching import check, explain
from onebreath.zoo.domain import Scan
from onebreath.zoo.rules import Conditions, Rule, RuleBook
from tests.chain.running import simulated
from tests.models import save_model

RULES = """
rules:
  - {name: fast, model: crunet_mr.tiny, when: {acceleration: [6, 20]}}
  - {name: slow, model: crunet_mr.tiny, when: {acceleration: [2, 5], protocol: ["*cine*"]}}
  - {name: rest, method: cg_sense}
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    save_model(tmp_path, domain={"frames": [4, 30], "field_strength_t": [1.5, 3]})
    (tmp_path / "protocols.yaml").write_text(RULES)
    return tmp_path


def test_match_tells_which_rule_fires_and_why_the_others_do_not(root, capsys):
    file = root / "scan.h5"
    simulated(mode="prospective", phases=4, acceleration=4, acs_mode="embedded").write(file)
    assert main(["models", "match", str(file)]) == 0
    out = capsys.readouterr().out
    assert "mask_family uniform_acs" in out
    assert not re.search(r"\d\.\d{4}", out)  # numbers as people read them
    assert "fast: no: acceleration is 4, the rule is for 6 to 20" in out
    assert "slow: FIRES: model crunet_mr.tiny\n" in out
    assert "rest: no: its conditions hold too, but an earlier rule fires" in out


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("fallback", "so cg_sense makes the images"),
        ("warn", "so it is used with a warning"),
        ("refuse", "ends with an error"),
    ],
)
def test_the_card_has_its_say(root, policy, words):
    book = RuleBook((Rule(name="a", model="crunet_mr.tiny", policy=policy),))
    (text,) = explain(book, Scan(frames=3))
    assert "crunet_mr.tiny is not for it (frames is 3, the model is for 4 to 30)" in text
    assert words in text


def test_no_rule_and_old_rules_are_told():
    book = RuleBook((Rule(name="a", method="grappa", when=Conditions(frames=(4, 9))),), "the file is broken")
    assert list(explain(book, Scan())) == [
        "  a: no: frames is not known",
        "  no rule fires: the fallback makes the images",
        "These rules are the last good ones: the file is broken",
    ]


def test_rules_are_listed_with_what_is_wrong(root, capsys):
    assert main(["models", "rules"]) == 0
    assert capsys.readouterr().out.startswith("  1 fast ")
    (root / "protocols.yaml").write_text(RULES + "  - {name: late, method: grappa}\n")
    assert main(["models", "rules"]) == 1
    assert "error: rule late: can never fire" in capsys.readouterr().out


def test_methods_and_parameters_that_do_not_exist_are_found():
    book = RuleBook((Rule(name="a", method="grapa"), Rule(name="b", method="cg_sense", properties={"steps": 3})))
    assert [finding.serious for finding in check(book)][:2] == [True, True]


def test_the_shipped_rules_have_no_fault(monkeypatch):
    monkeypatch.delenv("ONEBREATH_MODELS", raising=False)
    assert main(["models", "rules"]) == 0
