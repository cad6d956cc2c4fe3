"""Where models are found."""

import threading
from pathlib import Path

import pytest

from onebreath.errors import ModelError
from onebreath.zoo import find, models, search_path
from tests.models import save_model


def test_places_in_order(tmp_path, monkeypatch):
    for name in ("a", "b", "g"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("ONEBREATH_MODELS", f"{tmp_path}/a:{tmp_path}/b")
    monkeypatch.setenv("GADGETRON_HOME", f"{tmp_path}/g")
    path = search_path()
    assert path[:3] == [tmp_path / "a", tmp_path / "b", tmp_path / "g/share/gadgetron/onebreath/models"]
    assert path[-1] == Path(__file__).parents[2] / "models"


def test_the_first_place_wins(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("ONEBREATH_MODELS", f"{first}:{second}")
    for root in (second, first):
        save_model(root)
    save_model(second, "crnn_mri.other")
    assert find("crunet_mr.tiny") == first / "crunet_mr.tiny"
    assert models("*.other") == {"crnn_mri.other": second / "crnn_mri.other"}


def test_a_missing_model_is_explained(root):
    save_model(root)
    with pytest.raises(ModelError, match=r"no model 'crunet_mr\.tyni'\. Did you mean: crunet_mr\.tiny") as error:
        find("crunet_mr.tyni")
    assert str(root) in str(error.value)
    assert "onebreath models import" in str(error.value)


def test_a_model_that_is_being_replaced_is_waited_for(root):
    folder = save_model(root)
    aside = root / ".partial-crunet_mr.tiny-x" / "old"
    aside.parent.mkdir()
    folder.rename(aside)
    back = threading.Timer(0.2, aside.rename, [folder])
    back.start()
    assert find("crunet_mr.tiny") == folder
    back.join()


def test_a_later_place_does_not_stand_in_for_a_model_that_is_being_replaced(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("ONEBREATH_MODELS", f"{first}:{second}")
    folder = save_model(first)
    save_model(second)
    aside = first / ".partial-crunet_mr.tiny-x" / "old"
    aside.parent.mkdir()
    folder.rename(aside)
    back = threading.Timer(0.2, aside.rename, [folder])
    back.start()
    assert find("crunet_mr.tiny") == folder
    back.join()


def test_a_replacement_that_begins_and_ends_within_one_look_is_not_an_absence(root, monkeypatch):
    folder = save_model(root)
    looks = iter([{}, models(), models()])
    monkeypatch.setattr("onebreath.zoo.search.models", lambda: next(looks))
    assert find("crunet_mr.tiny") == folder


def test_a_name_with_a_path_is_never_looked_for(root):
    save_model(root / "inner")
    with pytest.raises(ModelError, match="is not of the form"):
        find("inner/crunet_mr.tiny")


def test_a_former_name_finds_the_model_with_a_warning(root, caplog):
    folder = save_model(root, "crunet_mr.new", former_names=["crunet_mr.old"])
    assert find("crunet_mr.old") == folder
    assert "model 'crunet_mr.old' is now called 'crunet_mr.new'" in caplog.text
    caplog.clear()
    assert find("crunet_mr.new") == folder
    assert not caplog.text


def test_a_damaged_card_hides_no_other_model(root):
    folder = save_model(root, "crunet_mr.new", former_names=["crunet_mr.old"])
    (save_model(root, "crnn_mri.broken") / "card.yaml").write_text("{")
    assert find("crunet_mr.old") == folder
