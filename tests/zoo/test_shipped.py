"""The models that come with the repository."""

from pathlib import Path

import pytest
import yaml

from onebreath import zoo
from onebreath.zoo.store import read_network

MODELS = Path(__file__).parents[2] / "models"
FOLDERS = sorted(path.parent for path in MODELS.glob("*/card.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_card_and_weights_belong_together(folder):
    card = zoo.read_card(folder)
    read_network(folder, card)
    assert "not for diagnosis" in card.intended_use
    assert card.training.recipe


def test_the_rules_name_models_that_are_there():
    rules = yaml.safe_load((MODELS / "protocols.yaml").read_text())["rules"]
    assert {rule["model"] for rule in rules if "model" in rule} <= {folder.name for folder in FOLDERS}


def test_all_weights_are_small_enough_for_a_repository():
    assert sum(file.stat().st_size for folder in FOLDERS for file in folder.iterdir()) < 40e6
