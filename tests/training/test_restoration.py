"""Training of networks for magnitude images: examples, the loss that falls, and who may be trained on."""

import json

import numpy as np
import pytest
import torch

from onebreath.cli import main
from onebreath.errors import ConfigError, ScanError
from onebreath.training.data.image_preparation import prepare_images
from onebreath.training.recipe import parse_recipe, write_recipe
from onebreath.training.restoration import RestorationExamples, RestorationSettings, to_size, undersampled
from onebreath.training.state.distributed import Group
from onebreath.training.trainer import Trainer
from onebreath.zoo.card import read_card
from tests.models import RESTORATION_TINY

ALONE = Group(0, 1, torch.device("cpu"))


def recipe(architecture="mr_ipt", restoration=None, **changes):
    content = {
        "name": "tiny",
        "seed": 3,
        "network": {"architecture": architecture, "arguments": RESTORATION_TINY[architecture]},
        "train": [{"kind": "simulator", "subjects": 1, "per_patient": 2}],
        "validate_on": [{"kind": "simulator", "subjects": 1, "first_seed": 50, "per_patient": 1}],
        "restoration": {"size": 16, **(restoration or {})},
        "optimiser": {"learning_rate": 5e-3, "warm_up": 5, "ema": 0.8},
        "batch": 2,
        "steps": 6,
        "checkpoint_every": 2,
        "validate_every": 3,
        "validation_examples": 8,
    }
    return parse_recipe({**content, **changes}, "of the test")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_images(recipe(), tmp_path_factory.mktemp("images"))


def trainer(folder, prepared, of=None):
    of = of or recipe()
    return Trainer(of, prepared["train"], prepared["validate"], folder, ALONE)


def test_images_are_brought_to_size():
    image = np.zeros((2, 40, 60), np.float32)
    image[0, 10:30, 10:50] = 4
    made = to_size(image, 30, None)
    assert made.shape == (1, 30, 30), "an image of zeros is left out"
    assert made.max() == 1
    assert made[0, 15, 15] == pytest.approx(1)
    assert not made[0, :4].any(), "zeros around the shorter side keep the shape"
    cropped = to_size(image, 20, 20)
    assert cropped.shape == (1, 20, 20)
    assert (cropped == 1).all()


def test_an_example_is_the_magnitude_of_its_undersampled_kspace(prepared):
    settings = RestorationSettings(size=16, types=("equispaced",), accelerations=(4.0,), scale_from="full")
    example = RestorationExamples(prepared["train"], settings, 1)[5]
    image, target = example["image"][0].numpy(), example["target"][0].numpy()
    assert image.shape == target.shape == (16, 16)
    assert target.max() == 1
    assert image.sum() == pytest.approx(target.sum(), rel=0.3)
    assert np.abs(image - target).max() > 0.05
    again = RestorationExamples(prepared["train"], settings, 1)[5]
    assert torch.equal(example["image"], again["image"])


def test_inputs_are_scaled_by_what_the_scanner_knows(prepared):
    example = RestorationExamples(prepared["train"], RestorationSettings(size=16), 1)[5]
    assert float(example["image"].max()) == pytest.approx(1)
    assert float(example["target"].max()) != 1


def test_types_and_levels_are_drawn_evenly(prepared):
    examples = RestorationExamples(prepared["train"], RestorationSettings(size=16), 1)
    drawn = [(int(one["type"]), int(one["level"])) for one in (examples[n] for n in range(400))]
    counts = np.bincount([5 * kind + level for kind, level in drawn], minlength=20)
    assert counts.min() > 5
    assert counts.max() < 45


def test_phase_and_noise_change_kspace_as_they_should():
    rng = np.random.default_rng(0)
    image, full = np.ones((16, 16), np.float32), np.ones((16, 1), bool)
    noise = undersampled(np.zeros((64, 64), np.float32), np.ones((64, 1), bool), rng, noise=0.5)
    assert noise.real.std() == pytest.approx(0.5, rel=0.05)
    real = undersampled(image, full, rng)
    turned = undersampled(image, full, rng, phase=True)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(real), rel=1e-4)
    assert np.abs(np.abs(turned) - np.abs(real)).max() > 0.1


def test_few_samples_are_chosen_by_the_seed_and_validation_takes_all(prepared):
    settings = RestorationSettings(size=16, samples=3)
    chosen = [RestorationExamples(prepared["train"], settings, seed).images for seed in (1, 1, 2)]
    assert len(chosen[0]) == 3
    assert chosen[0] == chosen[1] != chosen[2]
    more = RestorationExamples(prepared["train"], RestorationSettings(size=16, samples=5), 1).images
    assert more[:3] == chosen[0], "a larger set holds the smaller one"
    validation = RestorationExamples(prepared["validate"], settings.model_copy(update={"samples": 1}), 1, True)
    assert len(validation.images) == sum(one.count for one in prepared["validate"]) > 1


@pytest.mark.parametrize("architecture", ["mr_ipt", "unet", "vit"])
def test_training_lowers_the_loss(tmp_path, prepared, architecture):
    one = trainer(tmp_path, prepared, recipe(architecture, steps=24, validate_every=12))
    before = one.validation_loss()
    one.run()
    assert one.best < 0.9 * before


def test_a_stopped_training_ends_bit_equal(tmp_path, prepared):
    whole, parts = trainer(tmp_path / "whole", prepared), trainer(tmp_path / "parts", prepared)
    whole.run()
    parts.run(until=4)
    parts = trainer(tmp_path / "parts", prepared)
    parts.run()
    states = (whole.network.state_dict(), parts.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_ssim_joins_the_loss(tmp_path, prepared):
    plain = trainer(tmp_path / "a", prepared).validation_loss()
    joined = trainer(tmp_path / "b", prepared, recipe(restoration={"ssim": 0.5})).validation_loss()
    assert plain < joined < plain + 0.5


def test_train_and_export_on_the_command_line(tmp_path):
    (tmp_path / "tiny.yaml").write_text(write_recipe(recipe()))
    arguments = ["--run", str(tmp_path / "run"), "--device", "cpu", "--export", "mr_ipt.first"]
    assert main(["train", str(tmp_path / "tiny.yaml"), *arguments, "--models", str(tmp_path / "models")]) == 0
    card = read_card(tmp_path / "models" / "mr_ipt.first")
    assert card.conventions.normalisation == "max_image"
    assert card.domain.acceleration == (1, 10)
    assert card.domain.matrix_y == (8, 32)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["validate"] == {"patients": ["phantom50"], "slices": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"restoration": None, "masks": [{"family": "random", "accelerations": [4]}]}, "has the field restoration"),
        ({"network": {"architecture": "crunet_mr", "arguments": {"channels": 4}}}, "has no field restoration"),
        ({"restoration": {"size": 16, "accelerations": [3.0]}}, r"accelerations holds 3.0, the network knows 2.0, 4.0"),
    ],
)
def test_recipes_that_do_not_fit_the_network_are_refused(tmp_path, prepared, changes, message):
    with pytest.raises(ConfigError, match=message):
        trainer(tmp_path, prepared, recipe(**changes) if "restoration" not in changes else other(changes))


def other(changes):
    """The recipe with another field `restoration`, or none."""
    content = recipe().model_dump(mode="json") | changes
    return parse_recipe(content, "of the test")


def test_a_recipe_without_masks_and_restoration_is_refused():
    with pytest.raises(ConfigError, match="masks is missing"):
        other({"restoration": None})


def test_undersampled_kspace_is_refused(tmp_path, monkeypatch):
    from onebreath.training.data import preparation
    from onebreath.training.data.series import KspaceSeries

    kspace = np.ones((1, 2, 8, 8), np.complex64)
    lines = np.arange(8)[None] % 2 == 0
    for mask in (None, lines):
        series = KspaceSeries("a", "b", kspace, mask)
        monkeypatch.setattr(preparation, "read_source", lambda source, one=series: iter([one]))
        if mask is None:
            (stored,) = prepare_images(recipe(validate_on=[]), tmp_path)["train"]
            assert stored.read(0).max() == 1
        else:
            with pytest.raises(ScanError, match="a b lacks lines"):
                prepare_images(recipe(validate_on=[]), tmp_path)
