"""Cards: what is written is read again, and everything wrong is named."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from onebreath.errors import ModelError
from onebreath.zoo.card import Card, check_name, parse_card, read_card
from tests.models import details

WEIGHTS = {"file": "weights.safetensors", "sha256": "0" * 64}


def card(**changes):
    return {**details("crunet_mr.tiny"), "weights": WEIGHTS, **changes}


def test_a_card_survives_its_file(tmp_path):
    folder = tmp_path / "crunet_mr.tiny"
    folder.mkdir()
    measured = [{"data": "phantom R=4", "metric": "SSIM strict", "mean": 0.97, "std": 0.01, "n": 20}]
    domain = {"acceleration": [2, 10], "trajectory": ["cartesian"]}
    written = parse_card(card(measured=measured, domain=domain, summary="Kino: größer"), "here")
    (folder / "card.yaml").write_text(written.to_yaml(), encoding="utf-8")
    assert read_card(folder) == written


def test_every_field_is_documented():
    def undocumented(model):
        for name, field in model.model_fields.items():
            if not field.description:
                yield f"{model.__name__}.{name}"
            if hasattr(field.annotation, "model_fields"):
                yield from undocumented(field.annotation)

    assert list(undocumented(Card)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": 1}, "there is no field 'accuracy'"),
        ({"domain": {"speed": [1, 2]}}, "there is no field 'domain.speed'"),
        ({"domain": {"frames": [30, 8]}}, "field 'domain.frames': value .30, 8. does not fit"),
        ({"version": 1.0}, "field 'version': value 1.0 does not fit"),
        ({"weights": {"file": "w.safetensors", "sha256": "abc"}}, "field 'weights.sha256': value 'abc'"),
        ({"weights": {**WEIGHTS, "file": "../w.safetensors"}}, "field 'weights.file': value '../w.safetensors'"),
        ({"weights": {**WEIGHTS, "file": "weights.pth"}}, "safetensors file in the model's own folder"),
        ({"conventions": {"fourier": "corner"}}, "field 'conventions.fourier': value 'corner'"),
        ({"former_names": ["../evil.x"]}, "field 'former_names.0': value '../evil.x'"),
        ({"score_limit": -1}, "field 'score_limit': value -1"),
        ({"architecture": "crnn_mri"}, "name is crunet_mr.tiny, but the architecture is crnn_mri"),
    ],
)
def test_wrong_fields_are_named_with_their_value(changes, message):
    with pytest.raises(ModelError, match=message):
        parse_card(card(**changes), "here")


def test_missing_fields_are_named():
    content = card()
    del content["licence"], content["training"]
    with pytest.raises(ModelError, match="here: field 'training' is missing; field 'licence' is missing"):
        parse_card(content, "here")


@pytest.mark.parametrize(
    "name", ["../evil.x", "/etc.x", "a.b/c", "a..b", "crunet_mr", "a.b.c", ".hidden.x", "A.b", "a.b\n", "a.", "ä.b", ""]
)
def test_names_cannot_lead_elsewhere(name):
    with pytest.raises(ModelError, match="is not of the form"):
        check_name(name)


@settings(max_examples=50)
@given(st.text())
def test_an_accepted_name_is_one_plain_part_of_a_path(name):
    try:
        check_name(name)
    except ModelError:
        return
    assert not set(name) & set('/\\:~$ \n\0"')
    assert not name.startswith(".")


@pytest.mark.parametrize(
    ("text", "message"),
    [("- 1", "a card is a mapping of fields, found list"), ("a: [", "is not YAML"), ("x" * 1_000_001, "bytes, a card")],
)
def test_other_files_are_no_cards(tmp_path, text, message):
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_card(tmp_path)


def test_yaml_cannot_make_objects(tmp_path):
    (tmp_path / "card.yaml").write_text("name: !!python/object/apply:os.getcwd []")
    with pytest.raises(ModelError, match="is not YAML"):
        read_card(tmp_path)


def test_the_folder_must_have_the_cards_name(tmp_path):
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card()))
    with pytest.raises(ModelError, match=f"name is 'crunet_mr.tiny', but the folder is called '{tmp_path.name}'"):
        read_card(tmp_path)
