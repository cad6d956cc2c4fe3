"""Trainer: steps, checkpoints and validation; a training can stop at any step and resumes to the same result."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from onebreath.errors import ConfigError, TrainingError
from onebreath.networks.shared.precision import true_float32
from onebreath.terminal import Progress
from onebreath.training.data.examples import Example
from onebreath.training.optimiser import (
    MovingAverage,
    learning_rate,
    make_optimiser,
    moments_of,
    restore_moments,
    set_learning_rate,
)
from onebreath.training.recipe import Recipe
from onebreath.training.schedule import Schedule
from onebreath.training.state import checkpoint as checkpoints
from onebreath.training.state.checkpoint import BEST, LATEST, Checkpoint
from onebreath.training.state.distributed import Group
from onebreath.training.state.journal import Journal
from onebreath.training.state.resume import check_same_run
from onebreath.training.state.start import Start, check_fits
from onebreath.training.state.stopping import StopRequest
from onebreath.training.tasks import task_of
from onebreath.training.validation import mean_loss, shown
from onebreath.zoo.architectures import build

LOG = logging.getLogger("onebreath.training")
# Distance of the seeds of training and validation examples.
_VALIDATION_SEED = 1_000_003


class Trainer:
    """Training run of a recipe.

    Parameters
    ----------
    recipe
        The recipe.
    train, validate
        Prepared slices or images.
    folder
        Run folder; a checkpoint in it is resumed.
    group
        The processes that train together.
    start
        Initial weights (fine-tuning); None: new ones. A run that is resumed must have had the same.
    tensorboard
        See `Journal`.
    facts
        Information to be stored with the weights, such as their origin.
    seconds
        Time limit including earlier runs in the folder, instead of the recipe's steps.
    left
        Time limit from now on, instead of `seconds`.
    clock
        Function that returns a time in seconds.

    Raises
    ------
    ConfigError
        If the run folder holds a run of another recipe or start.
    ModelError
        If the network cannot be built, the start does not fit it, or a checkpoint is damaged.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Sequence[Any],
        validate: Sequence[Any],
        folder: Path,
        group: Group,
        start: Start | None = None,
        tensorboard: bool = False,
        facts: dict[str, str | float] | None = None,
        seconds: float | None = None,
        left: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recipe, self.folder, self.group = recipe, folder, group
        self.schedule = Schedule(recipe.steps, seconds, clock=clock)
        torch.manual_seed(recipe.seed)
        self.network = build(recipe.network.architecture, recipe.network.arguments).to(group.device)
        if start is not None:
            check_fits(start, recipe)
            self.network.load_state_dict(start.weights)
        self.compute_dtype = self.network.use_precision(recipe.precision)
        self.optimiser = make_optimiser(self.network, recipe.optimiser)
        self.average = MovingAverage(self.network, recipe.optimiser.ema)
        self.step, self.validated, self.best, self.facts = 0, 0, float("inf"), dict(facts or {})
        if start is not None:
            self.facts["start"] = start.name
        self.task = task_of(recipe, self.network)
        self.examples = self.task.examples(train, recipe.seed, group.device)
        self.validation = None
        if validate or recipe.synthesis is not None:
            seed = recipe.seed + _VALIDATION_SEED
            self.validation = self.task.examples(validate, seed, group.device, validating=True)
        elif group.first:
            LOG.info("the recipe has no validation to choose the best weights by: the last ones (moving average) count")
        self._resume(start)
        if left is not None:
            self.schedule.seconds = self.schedule.used + left
        if self.schedule.seconds is not None:
            (self.schedule.seconds,) = group.follow([self.schedule.seconds])
        self.parallel = group.wrap(self.network)
        self.journal = Journal(folder, tensorboard) if group.first else None

    def run(self, until: int | None = None, stop: StopRequest | None = None) -> None:
        """Train until the end of the schedule, an earlier step, or a request to stop, and write a checkpoint.

        Raises
        ------
        TrainingError
            If the loss or a gradient is not finite; the last checkpoint is kept. If no time is left for any step.
        """
        stop = StopRequest() if stop is None else stop
        losses: list[float] = []
        begun = self.schedule.used
        batches = iter(self._batches(self.step, self._last_step(until)))
        self.schedule.tick()
        if self._validation_is_due():  # of a run that was killed in it
            self._validate()
        stopping = self._agree(stop)
        if not self.step and self.schedule.over(0):
            raise TrainingError("the time was used up before the first step, by the preparation of the data; give more")
        with Progress(f"training {self.recipe.name}", self._last_step(until), "steps", self.step) as progress:
            while not (stopping or self._ends(until)):
                losses.append(self.train_step(next(batches)))
                self.schedule.stepped()
                stopping = self._agree(stop)
                if self.group.first:
                    progress.reach(self.step, f"loss {sum(losses) / len(losses):.4g}{self.schedule.left}")
                if self.step % self.recipe.checkpoint_every == 0 or stopping or self._ends(until):
                    seconds = (self.schedule.used - begun) / len(losses)
                    self._write(
                        loss=sum(losses) / len(losses), rate=self._rate(self.step - 1), seconds_per_step=seconds
                    )
                    begun, losses = self.schedule.used, []
                    self._save(LATEST)
                if self._validation_is_due() and not stopping:
                    self._validate()
                    stopping = self._agree(stop)
        if self.step > self.validated and (stopping or self.schedule.over(self.step)):
            self._validate()
        if stopping:
            by = stop.by or "another process"
            LOG.warning("%s: stopped after step %d; the same command continues from there", by, self.step)
        if self.journal is not None:
            self.journal.close()

    def _last_step(self, until: int | None) -> int | None:
        """The last step, if it is known."""
        known = [until, self.recipe.steps if self.schedule.seconds is None else None]
        return min((step for step in known if step is not None), default=None)

    def _agree(self, stop: StopRequest) -> bool:
        """Give all processes the times of the first one; returns whether any of them was asked to stop."""
        self.schedule.times = self.group.follow(self.schedule.times)
        return self.group.any(bool(stop))

    def _ends(self, until: int | None) -> bool:
        """Whether no step is left; the same in all processes, which go by the times of the first one."""
        return (until is not None and self.step >= until) or self.schedule.over(self.step)

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
        with true_float32(self.compute_dtype):
            return self._train_step(batch)

    def _train_step(self, batch: Example) -> float:
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
        settings, schedule = self.recipe.optimiser, self.schedule
        return learning_rate(step, schedule.progress(step), settings, schedule.warm(settings.warm_up))

    def _batches(self, first: int, last: int | None = None) -> DataLoader[Example]:
        batch, share = self.recipe.batch, self.group.share(self.recipe.batch)
        steps = itertools.count(first) if last is None else range(first, last)
        indices = ([step * batch + position for position in share] for step in steps)
        # Examples made on the training device are made in this process.
        workers = 0 if self.recipe.synthesis is not None else self.recipe.workers
        context = "spawn" if workers else None
        return DataLoader(self.examples, batch_sampler=indices, num_workers=workers, multiprocessing_context=context)

    def _validation_is_due(self) -> bool:
        """Whether a validation after this step is missing: one of the recipe's, or one to measure its time."""
        asked = self.validation is not None and self.schedule.asks(self.step)
        return self.step > self.validated and (asked or self.step % self.recipe.validate_every == 0)

    def _validate(self) -> None:
        """Compute the loss of the averaged weights on the fixed validation examples, and save the best weights."""
        self.validated = self.step
        if self.validation is not None and self.group.first:
            self.schedule.tick()
            value = self.validation_loss()
            self._write(validation_loss=value)
            if value < self.best:
                self.best = value
                self._save(BEST)
            self._draw()
            self._save(LATEST)
            self.schedule.ended()
        self.group.wait()

    def _draw(self) -> None:
        """Draw the progress picture of the run."""
        if self.journal is not None and self.validation is not None:
            with true_float32(self.compute_dtype), self.average.applied(self.network) as network:
                self.journal.draw(shown(self.task, network, self.validation, self.group.device))

    def validation_loss(self) -> float:
        """Mean loss of the averaged weights on the validation examples.

        Raises
        ------
        ConfigError
            If the recipe has no validation data.
        """
        if self.validation is None:
            raise ConfigError("the recipe has no validate_on, there is nothing to validate on")
        count = self.recipe.validation_examples
        with true_float32(self.compute_dtype), self.average.applied(self.network) as network:
            return mean_loss(self.task, network, self.validation, count, self.group.device)

    def _write(self, **values: float) -> None:
        if self.journal is not None:
            self.journal.write(self.step, **values)

    def _save(self, name: str) -> None:
        if self.group.first:
            state = Checkpoint(
                self.step, self.network.state_dict(), self.average.weights, moments_of(self.optimiser, self.network),
                self.recipe.model_dump_json(), self.best, self.facts, self.schedule.used, self.validated,
            )  # fmt: skip
            with self.schedule.writing():
                checkpoints.save(state, self.folder / name)

    def _resume(self, start: Start | None) -> None:
        path = self.folder / LATEST
        if not path.is_file():
            return
        state = checkpoints.load(path, self.group.device)
        check_same_run(state, self.recipe, start.name if start else None, self.folder)
        self.network.load_state_dict(state.weights)
        self.average.weights = state.average
        restore_moments(self.optimiser, self.network, state.moments)
        self.step, self.best, self.facts = state.step, state.best, state.facts
        self.schedule.used, self.validated = state.seconds, state.validated
        first = f", which started from {self.facts['start']}" if "start" in self.facts else ""
        LOG.info("resumed after step %d of %s%s", self.step, path, first)
        if self.schedule.seconds is None and self.step > self.recipe.steps:
            LOG.warning("nothing is trained: the run has made %d steps, more than %d", self.step, self.recipe.steps)
