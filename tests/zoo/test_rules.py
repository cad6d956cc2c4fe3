"""Protocol rules: read with care, tried in order, explained."""

import pytest

from onebreath.errors import ConfigError
from onebreath.zoo.domain import Scan
from onebreath.zoo.rules import Conditions, Rule, RuleBook, current_rules, read_rules

SHORT = """
rules:
  - {name: cine, model: crunet_mr.tiny, when: {protocol: ["*CINE*", "k?no"], acceleration: [2, 10]}}
  - {name: rest, method: cg_sense}
"""


def write(folder, text, name="protocols.yaml"):
    (folder / name).write_text(text)
    return folder / name


def test_the_first_rule_whose_conditions_all_hold_fires(tmp_path):
    book = RuleBook(read_rules(write(tmp_path, SHORT)))
    assert book.match(Scan(protocol="my_Cine_sax", acceleration=4)).name == "cine"
    assert book.match(Scan(protocol="KINO", acceleration=10)).name == "cine"
    assert book.match(Scan(protocol="my_cine_sax", acceleration=11)).name == "rest"
    assert book.match(Scan(protocol="t1_map", acceleration=4)).name == "rest"


def test_what_the_header_does_not_tell_meets_no_condition(tmp_path):
    book = RuleBook(read_rules(write(tmp_path, SHORT)))
    assert book.match(Scan(acceleration=4)).name == "rest"
    assert [rule.name for rule in book.candidates(Scan())] == ["cine", "rest"]
    (_, verdict), _ = book.judge(Scan(protocol="t1_map"))
    assert verdict == (("protocol is t1_map, the rule is for *CINE*, k?no",), ("acceleration",))


def test_no_rule_may_fire():
    rule = Rule(name="philips", method="cg_sense", when=Conditions(vendor=("philips*",)))
    assert RuleBook((rule,)).match(Scan(vendor="SIEMENS")) is None
    assert RuleBook((rule,)).match(Scan(vendor="Philips Medical")) is rule


def test_includes_follow_in_order(tmp_path):
    write(tmp_path, "include: [b.yaml, c.yaml]\nrules: [{name: a, method: grappa}]")
    write(tmp_path, "rules: [{name: b, method: grappa}]", "b.yaml")
    write(tmp_path, "rules: [{name: c, method: grappa}]", "c.yaml")
    assert [rule.name for rule in read_rules(tmp_path / "protocols.yaml")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{name: a}]", "name a model, or a method that needs none"),
        ("rules: [{name: A b, method: grappa}]", "rules.0.name: 'A b'"),
        ("rules: [{name: a, method: grappa, policy: hope}]", "rules.0.policy: 'hope'"),
        ("rules: [{name: a, method: grappa, model: ../evil}]", "is not of the form architecture.tag"),
        ("rules: [{name: a, method: grappa, whenn: {}}]", "there is no field 'rules.0.whenn'"),
        ("rules: [{name: a, method: grappa, when: {speed: [1, 2]}}]", "there is no field 'rules.0.when.speed'"),
        ("rules: [{name: a, method: grappa, when: {frames: [9, 2]}}]", "lower limit 9.* is above the upper limit 2"),
        ("rules: [{name: a, method: grappa, when: {protocol: []}}]", "rules.0.when.protocol"),
        ("rules: [{name: a, method: grappa, when: {protocol: ['']}}]", "not empty"),
        ("rules: [{name: a, method: grappa, when: {protocol: ['cine[ab']}}]", "a bracket is not closed"),
        ("rules: [{name: a, method: grappa, when: {protocol: ['a]b']}}]", "a bracket is not closed"),
        ('rules: [{name: a, method: grappa, when: {vendor: ["a\\u0007"]}}]', "printable"),
        ("rules: [{name: a, method: grappa}, {name: a, method: cg_sense}]", "rules are defined twice: a"),
        ("rules: [{name: a, method: grappa, fallback: cgsense}]", "rule a: its fallback 'cgsense' .* mean: cg_sense"),
        ("rules: [{name: a, method: grappa, fallback: unrolled}]", "its fallback 'unrolled' is no classical method"),
        (
            "rules: [{name: a, method: grappa, candidates: [grappaa]}]",
            "rule a: its candidate 'grappaa' .* mean: grappa",
        ),
        ("rules: [{name: a, method: grappa, candidates: [unrolled]}]", "its candidate 'unrolled' is neither a model"),
        ("rules: [{name: a, method: grappa, method: raki}]", "'method' stands in it twice, in line 1"),
        ("rules: []\nrules: [{name: a, method: raki}]", "'rules' stands in it twice, in lines 1 and 2"),
        ("include: [protocols.yaml]", "circle: protocols.yaml -> protocols.yaml"),
        ("include: [back.yaml]", r"circle: protocols.yaml -> back.yaml -> protocols.yaml"),
        ("include: [../evil.yaml]", "is not the name of a .yaml file in the same folder"),
        ("include: [/etc/passwd]", "is not the name of a .yaml file in the same folder"),
        ("include: [link.yaml]", "is not the name of a .yaml file in the same folder"),
        ("include: [absent.yaml]", "cannot be read"),
        ("rules: [", "is not YAML"),
        ("- 1", "does not fit"),
        ("!!python/object/apply:os.system ['touch hacked']", "is not YAML"),
    ],
)
def test_wrong_files_are_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "include: [protocols.yaml]", "back.yaml")
    (tmp_path / "link.yaml").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match=message):
        read_rules(write(tmp_path, text))
    assert not (tmp_path / "hacked").exists()


def test_names_that_exist_are_taken(tmp_path):
    text = "rules: [{name: a, method: grappa, fallback: none, candidates: [raki, low_rank_sparse, some.model.v2]}]"
    (rule,) = read_rules(write(tmp_path, text))
    assert (rule.fallback, rule.candidates) == ("none", ("raki", "low_rank_sparse", "some.model.v2"))


def test_a_huge_file_is_not_parsed(tmp_path):
    with pytest.raises(ConfigError, match="at most"):
        read_rules(write(tmp_path, "#" * 1_000_001))


def test_site_rules_come_first_and_replace_those_of_the_same_name(root):
    write(root, SHORT)
    write(root, "rules: [{name: own, method: grappa}, {name: rest, method: zero_filled}]", "protocols.site.yaml")
    assert [(rule.name, rule.method) for rule in current_rules().rules[:3]] == [
        ("own", "grappa"),
        ("rest", "zero_filled"),
        ("cine", "unrolled"),
    ]


def test_a_broken_new_version_leaves_the_last_good_one_in_force(root):
    write(root, SHORT)
    before = current_rules()
    write(root, "rules: [{name: broken")
    book = current_rules()
    assert book.rules == before.rules
    assert "is not YAML" in book.warning
    assert current_rules() == book
    (root / "protocols.yaml").unlink()
    assert current_rules().rules == before.rules
    write(root, "rules: [{name: new, method: grappa}]")
    assert [rule.name for rule in current_rules().rules] == ["new"]
    assert current_rules().warning == ""


def test_broken_rules_without_a_good_version_are_an_error(root):
    write(root, "rules: 3")
    with pytest.raises(ConfigError, match="rules: 3 does not fit"):
        current_rules()
