"""The training itself: steps, checkpoints, validation. It can be stopped at any step and goes on to the same result."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from onebreath.errors import ConfigError, OnebreathError
from onebreath.training import checkpoint as checkpoints
from onebreath.training.checkpoint import BEST, LATEST, Checkpoint
from onebreath.training.data.examples import Example
from onebreath.training.distributed import Group
from onebreath.training.journal import Journal
from onebreath.training.optimiser import (
    MovingAverage,
    learning_rate,
    make_optimiser,
    moments_of,
    restore_moments,
    set_learning_rate,
)
from onebreath.training.recipe import Recipe, parse_recipe
from onebreath.training.tasks import task_of
from onebreath.zoo.architectures import build

LOG = logging.getLogger("onebreath.training")
# Fields of a recipe that may change when a training goes on.
_FREE = {"steps", "workers", "checkpoint_every", "validate_every", "validation_examples"}
# Distance of the seeds of training and validation examples.
_VALIDATION_SEED = 1_000_003


class TrainingError(OnebreathError):
    """A training cannot go on."""


class Trainer:
    """One run.

    Parameters
    ----------
    recipe
        What to do.
    train, validate
        Prepared slices, or images.
    folder
        Run folder; a checkpoint in it is resumed.
    group
        The processes that train together.
    start
        Weights to start from (fine-tuning); None: new ones.
    tensorboard
        See `Journal`.
    facts
        What is to be kept with the weights, for instance where they started from.

    Raises
    ------
    ConfigError
        If the run folder holds a run of another recipe.
    ModelError
        If the network cannot be built, or a checkpoint is damaged.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Sequence[Any],
        validate: Sequence[Any],
        folder: Path,
        group: Group,
        start: dict[str, Tensor] | None = None,
        tensorboard: bool = False,
        facts: dict[str, str | float] | None = None,
    ) -> None:
        self.recipe, self.folder, self.group = recipe, folder, group
        torch.manual_seed(recipe.seed)
        self.network = build(recipe.network.architecture, recipe.network.arguments).to(group.device)
        if start is not None:
            self.network.load_state_dict(start)
        self.network.use_precision(recipe.precision)
        self.optimiser = make_optimiser(self.network, recipe.optimiser)
        self.average = MovingAverage(self.network, recipe.optimiser.ema)
        self.step, self.best, self.facts = 0, float("inf"), dict(facts or {})
        self.task = task_of(recipe, self.network)
        self.examples = self.task.examples(train, recipe.seed)
        self.validation = None
        if validate:
            self.validation = self.task.examples(validate, recipe.seed + _VALIDATION_SEED, validating=True)
        self._resume()
        self.parallel = group.wrap(self.network)
        self.journal = Journal(folder, tensorboard) if group.first else None

    def run(self, until: int | None = None) -> None:
        """Train until the recipe's last step, or an earlier one.

        Raises
        ------
        TrainingError
            If the loss is not finite; the last checkpoint stays as it was.
        """
        last = self.recipe.steps if until is None else min(until, self.recipe.steps)
        begun, losses = time.perf_counter(), []
        for batch in self._batches(self.step, last):
            losses.append(self.train_step(batch))
            keep = self.step % self.recipe.checkpoint_every == 0 or self.step == last
            if keep:
                seconds = (time.perf_counter() - begun) / len(losses)
                self._write(loss=sum(losses) / len(losses), rate=self._rate(self.step - 1), seconds_per_step=seconds)
            if self.step % self.recipe.validate_every == 0 or self.step == self.recipe.steps:
                self._validate()
            if keep:
                self._save(LATEST)
                begun, losses = time.perf_counter(), []
        if self.journal is not None:
            self.journal.close()

    def loss(self, batch: Example) -> Tensor:
        """Loss of a batch, with gradients."""
        batch = {name: value.to(self.group.device, non_blocking=True) for name, value in batch.items()}
        return self.task.loss(self.parallel, batch, (self.step, self.group.rank))

    def train_step(self, batch: Example) -> float:
        """Take one step; returns its loss.

        Raises
        ------
        TrainingError
            As in `run`.
        """
        set_learning_rate(self.optimiser, self._rate(self.step))
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        value = float(loss.detach())
        if not torch.isfinite(loss.detach()):
            raise TrainingError(
                f"the loss is {value} at step {self.step + 1}; the checkpoint of the last good step is kept. Lower the "
                "learning rate, or look for damaged data"
            )
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimiser.clip)
        if not torch.isfinite(norm):
            raise TrainingError(f"the gradient is not finite at step {self.step + 1}; the weights were not changed")
        self.optimiser.step()
        self.step += 1
        self.average.update(self.network, self.step)
        return value

    def _rate(self, step: int) -> float:
        return learning_rate(step, self.recipe.steps, self.recipe.optimiser)

    def _batches(self, first: int, last: int) -> DataLoader[Example]:
        batch, share = self.recipe.batch, self.group.share(self.recipe.batch)
        indices = [[step * batch + position for position in share] for step in range(first, last)]
        workers = self.recipe.workers
        context = "spawn" if workers else None
        return DataLoader(self.examples, batch_sampler=indices, num_workers=workers, multiprocessing_context=context)

    def _validate(self) -> None:
        """Measure the averaged weights on the same examples every time, and keep the best."""
        if self.validation is not None and self.group.first:
            value = self.validation_loss()
            self._write(validation_loss=value)
            if value < self.best:
                self.best = value
                self._save(BEST)
        self.group.wait()

    def validation_loss(self) -> float:
        """Mean loss of the averaged weights on the validation examples.

        Raises
        ------
        ConfigError
            If the recipe validates on nothing.
        """
        if self.validation is None:
            raise ConfigError("the recipe has no validate_on, there is nothing to validate on")
        current = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average.weights)
        losses = []
        with torch.no_grad():
            for index in range(self.recipe.validation_examples):
                example = {name: value[None].to(self.group.device) for name, value in self.validation[index].items()}
                losses.append(float(self.task.validation_loss(self.network, example)))
        self.network.load_state_dict(current)
        return sum(losses) / len(losses)

    def _write(self, **values: float) -> None:
        if self.journal is not None:
            self.journal.write(self.step, **values)

    def _save(self, name: str) -> None:
        if self.group.first:
            state = Checkpoint(
                self.step, self.network.state_dict(), self.average.weights, moments_of(self.optimiser, self.network),
                self.recipe.model_dump_json(), self.best, self.facts,
            )  # fmt: skip
            checkpoints.save(state, self.folder / name)

    def _resume(self) -> None:
        path = self.folder / LATEST
        if not path.is_file():
            return
        state = checkpoints.load(path, self.group.device)
        _same_run(parse_recipe(json.loads(state.recipe), str(path)), self.recipe, self.folder)
        self.network.load_state_dict(state.weights)
        self.average.weights = state.average
        restore_moments(self.optimiser, self.network, state.moments)
        self.step, self.best, self.facts = state.step, state.best, state.facts
        LOG.info("going on after step %d of %s", self.step, path)


def _same_run(old: Recipe, new: Recipe, folder: Path) -> None:
    before, after = old.model_dump(mode="json", exclude=_FREE), new.model_dump(mode="json", exclude=_FREE)
    changed = [name for name in after if before[name] != after[name]]
    if changed:
        raise ConfigError(
            f"{folder} holds a run whose recipe differs in {', '.join(changed)}; choose another run folder"
        )
