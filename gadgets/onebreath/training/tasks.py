"""Training tasks: networks for multi-coil series or for magnitude images, with the same trainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from onebreath.errors import ConfigError
from onebreath.mri.coils import combine
from onebreath.mri.fourier import ifft2c
from onebreath.networks.restoration.restoration import RestorationNetwork
from onebreath.training.data.examples import FREE, Example, Examples, ExampleSettings
from onebreath.training.data.ssdu import HeldBack, divide, hidden_loss
from onebreath.training.losses import kspace_loss, ssim_loss, total_loss
from onebreath.training.pictures import Shown
from onebreath.training.recipe import Recipe
from onebreath.training.restoration import RestorationExamples
from onebreath.training.synthesis.scans import DeviceExamples

LOG = logging.getLogger("onebreath.training")


class Task(Protocol):
    """Examples, and the loss of a network on them."""

    def examples(
        self, prepared: Sequence[Any], seed: int, device: torch.device, validating: bool = False
    ) -> Dataset[Example]:
        """Examples from prepared data; those made on a device are made on `device`."""

    def loss(self, network: nn.Module, batch: Example, position: tuple[int, int]) -> Tensor:
        """Loss of a batch, with gradients; `position` is the step and the index of the process."""

    def validation_loss(self, network: nn.Module, example: Example) -> Tensor:
        """Loss by which the best weights are chosen."""

    def shown(self, network: nn.Module, example: Example) -> Shown | None:
        """Images of an example for the picture of the run; None without any."""


def task_of(recipe: Recipe, network: nn.Module) -> Task:
    """Task of a recipe.

    Raises
    ------
    ConfigError
        If network and recipe do not fit together.
    """
    images = isinstance(network, RestorationNetwork)
    if images != (recipe.restoration is not None):
        kind, needs = ("magnitude images", "the field") if images else ("multi-coil series", "no field")
        raise ConfigError(f"{recipe.network.architecture} is a network for {kind}: its recipe has {needs} restoration")
    if recipe.loss.kspace_modulus and not getattr(network, "predicts_kspace", False):
        raise ConfigError(
            f"loss.kspace_modulus needs a network that predicts k-space; {recipe.network.architecture} with these "
            "arguments does not"
        )
    if recipe.loss.kspace_modulus and recipe.self_supervised is not None:
        raise ConfigError("loss.kspace_modulus compares with full samples; leave it or self_supervised out")
    if isinstance(network, RestorationNetwork):
        return RestorationTask(recipe, network)
    return SynthesisTask(recipe) if recipe.synthesis is not None else SeriesTask(recipe)


class SeriesTask:
    """Multi-coil series, with or without full samples."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._trains_on_complete = True

    def examples(
        self, prepared: Sequence[Any], seed: int, device: torch.device, validating: bool = False
    ) -> Dataset[Example]:
        """Make examples, of training first; see `Task`."""
        recipe = self.recipe
        if validating:
            return self._validation_examples(prepared, seed)
        examples = Examples(prepared, recipe.masks, recipe.examples, seed, recipe.batch)
        if examples.incomplete and recipe.self_supervised is None:
            raise ConfigError("the slices to train on lack lines; set self_supervised in the recipe")
        self._trains_on_complete = not examples.incomplete
        self._check_fields(examples.incomplete, used_elsewhere=bool(recipe.validate_on))
        return examples

    def _check_fields(self, incomplete: bool, used_elsewhere: bool) -> None:
        """Refuse fields that do nothing as all slices lack lines."""
        if not incomplete or used_elsewhere:
            return
        chosen, defaults = self.recipe.examples, ExampleSettings()
        if idle := [f"examples.{name}" for name in FREE if getattr(chosen, name) != getattr(defaults, name)]:
            raise ConfigError(
                f"{', '.join(idle)}: does nothing here, as the slices lack lines and keep their rows, masks and noise; "
                "leave it out"
            )
        LOG.info(
            "the slices lack lines and keep their own masks; masks of the recipe is for the domain of the card alone"
        )

    def _validation_examples(self, prepared: Sequence[Any], seed: int) -> Dataset[Example]:
        """Examples to validate on: those of slices that lack lines have part of the acquired lines held back."""
        recipe = self.recipe
        examples = Examples(prepared, recipe.masks, recipe.examples.model_copy(update={"augment": False}), seed)
        self._check_fields(examples.incomplete, used_elsewhere=self._trains_on_complete)
        if not examples.incomplete:
            return examples
        if recipe.self_supervised is None:
            raise ConfigError(
                "the slices to validate on lack lines, so there is no true image to compare with; set self_supervised "
                "in the recipe, or validate on complete slices"
            )
        LOG.info("the slices to validate on lack lines: the validation loss is the error on held-back lines")
        return HeldBack(examples, recipe.self_supervised, seed)

    def loss(self, network: nn.Module, batch: Example, position: tuple[int, int]) -> Tensor:
        """Loss of a batch; see `Task`."""
        split = self.recipe.self_supervised
        if split is None:
            return self._supervised(network, batch)
        seed = np.random.SeedSequence([self.recipe.seed, *position]).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(seed))
        _, hidden = divide(batch["mask"], split, generator)
        return _self_supervised(network, {**batch, "hidden": hidden})

    def validation_loss(self, network: nn.Module, example: Example) -> Tensor:
        """Loss with full samples, or on held-back lines where lines are missing; see `Task`."""
        return _self_supervised(network, example) if "hidden" in example else self._supervised(network, example)

    def _supervised(self, network: nn.Module, example: Example) -> Tensor:
        weights = self.recipe.loss
        inputs = [example[name] for name in ("kspace", "mask", "maps", "noise_std")]
        if not weights.kspace_modulus:
            return total_loss(network(*inputs), example["target"], weights)
        image, predicted = network(*inputs, with_kspace=True)
        loss = total_loss(image, example["target"], weights)
        return loss + weights.kspace_modulus * kspace_loss(predicted, example["target"], example["maps"])

    def shown(self, network: nn.Module, example: Example) -> Shown | None:
        """Magnitudes of one example; see `Task`."""
        image = network(example["kspace"], example["mask"], example["maps"], example["noise_std"])[0]
        start = combine(ifft2c(example["kspace"]), example["maps"])[0]
        target = _magnitude(example["target"][0]) if "target" in example else None
        return Shown(_magnitude(start), _magnitude(image), target)


def _magnitude(image: Tensor) -> np.ndarray:
    return np.asarray(image.abs().float().cpu())


def _self_supervised(network: nn.Module, batch: Example) -> Tensor:
    """Loss on the lines ``hidden``, of the image from the other acquired lines."""
    kspace, maps, hidden = batch["kspace"], batch["maps"], batch["hidden"]
    shown = batch["mask"] & ~hidden
    return hidden_loss(network(kspace * shown, shown, maps, batch["noise_std"]), kspace, maps, hidden)


class SynthesisTask(SeriesTask):
    """Multi-coil series made on the device of the training."""

    def examples(
        self, prepared: Sequence[Any], seed: int, device: torch.device, validating: bool = False
    ) -> Dataset[Example]:
        """Examples; see `Task`. For validation they are made from the recipe's validation sequences only, if any."""
        recipe, settings = self.recipe, self.recipe.synthesis
        assert settings is not None
        if validating and prepared:
            settings = settings.model_copy(update={"hearts": 1.0, "phantoms": 0.0, "clips": 0.0})
        return DeviceExamples(prepared, recipe.masks, settings, seed, device, 1 if validating else recipe.batch)


class RestorationTask:
    """Magnitude images; the loss is the mean absolute error, plus 1 - SSIM if the recipe gives it a weight.

    Parameters
    ----------
    recipe
        Recipe with `restoration`.
    network
        Network whose levels and types the examples use.

    Raises
    ------
    ConfigError
        If the network lacks an acceleration or type of the recipe.
    """

    def __init__(self, recipe: Recipe, network: RestorationNetwork) -> None:
        assert recipe.restoration is not None
        self.settings = recipe.restoration
        self.levels = _indices("accelerations", self.settings.accelerations, network.levels)
        self.types = _indices("types", self.settings.types, network.types)

    def examples(
        self, prepared: Sequence[Any], seed: int, device: torch.device, validating: bool = False
    ) -> RestorationExamples:
        """Make examples; see `Task`."""
        return RestorationExamples(prepared, self.settings, seed, validating)

    def loss(self, network: nn.Module, batch: Example, position: tuple[int, int]) -> Tensor:
        """Loss of a batch; see `Task`."""
        levels = [self.levels[index] for index in batch["level"].tolist()]
        types = [self.types[index] for index in batch["type"].tolist()]
        image, target = network(batch["image"], levels, types), batch["target"]
        loss = (image - target).abs().mean()
        return loss + self.settings.ssim * ssim_loss(image, target) if self.settings.ssim else loss

    def validation_loss(self, network: nn.Module, example: Example) -> Tensor:
        """Loss as in training; see `Task`."""
        return self.loss(network, example, (0, 0))

    def shown(self, network: nn.Module, example: Example) -> Shown | None:
        """None, as these images are not series; see `Task`."""
        return None


def _indices(name: str, wanted: Sequence[Any], known: Sequence[Any]) -> list[int]:
    """Indices of the recipe's values in those of the network; zeros for a network without any."""
    if not known:
        return [0] * len(wanted)
    missing = [one for one in wanted if one not in known]
    if missing:
        raise ConfigError(f"restoration.{name} holds {missing[0]}, the network knows {', '.join(map(str, known))}")
    return [known.index(one) for one in wanted]
