import datetime
import json
import os
import signal

import pytest
import torch

from onebreath.errors import ConfigError, TrainingError
from onebreath.training.schedule import Schedule, seconds_until
from onebreath.training.state import checkpoint as checkpoints
from onebreath.training.state.distributed import Group
from onebreath.training.state.stopping import stop_on_signals
from onebreath.training.trainer import Trainer
from tests.training.recipes import tiny_recipe, tiny_slice

ALONE = Group(0, 1, torch.device("cpu"))


class Clock:
    """Time that passes by a second at each look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def trainer(folder, validate_every=16, **options):
    recipe = tiny_recipe(steps=10**6, checkpoint_every=8, validate_every=validate_every)
    return Trainer(recipe, [tiny_slice(0)], [tiny_slice(9, "two")], folder, ALONE, **options)


def test_by_steps_the_time_does_not_count():
    schedule = Schedule(10, clock=Clock())
    for _ in range(100):
        schedule.tick()
    assert schedule.progress(5) == 0.5
    assert not schedule.over(9)
    assert schedule.over(10)


def test_the_time_of_the_end_is_kept_free_as_it_was_measured():
    clock = Clock()
    schedule = Schedule(10, seconds=100, clock=clock)
    schedule.stepped()
    clock.now += 19
    schedule.ended()
    assert schedule.training_seconds == pytest.approx(100 - 1.2 * 20 - 1)
    clock.now += 60
    schedule.tick()
    assert schedule.over(1)
    assert schedule.used < 100


def test_a_time_of_day_is_the_next_one():
    now = datetime.datetime(2020, 1, 1, 22, 30)
    assert seconds_until("23:00", now) == 1800
    assert seconds_until("22:00", now) == 23.5 * 3600
    with pytest.raises(ConfigError, match="expected a time of day"):
        seconds_until("25:00", now)


def test_the_whole_schedule_fits_the_time_given(tmp_path):
    one = trainer(tmp_path, seconds=200.0, clock=Clock())
    one.run()
    assert one.schedule.used <= 200
    assert one.step > 10
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    rates = [entry["rate"] for entry in entries if "rate" in entry]
    assert max(rates) == pytest.approx(1e-3, rel=0.1)
    assert rates[-1] == pytest.approx(1e-4, rel=0.1)
    assert (tmp_path / "best.safetensors").is_file()
    assert (tmp_path / "progress.png").read_bytes().startswith(b"\x89PNG")


def test_the_time_of_the_first_validation_is_kept_free_too(tmp_path, monkeypatch, caplog):
    clock = Clock()
    one = trainer(tmp_path, validate_every=10**6, seconds=100.0, clock=clock)
    validation_loss = one.validation_loss

    def slow():
        clock.now += 20
        return validation_loss()

    monkeypatch.setattr(one, "validation_loss", slow)
    one.run()
    assert one.schedule.used <= 100
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    early, last = (entry["step"] for entry in entries if "validation_loss" in entry)
    assert 1 < early < 10 < 20 < last == one.step
    assert "it will be late" not in caplog.text
    trainer(tmp_path.with_name("short"), seconds=15.0, clock=Clock()).run()
    assert "more than half of the 15 s given: it will be late" in caplog.text


def test_writing_checkpoints_tells_how_long_the_export_takes(tmp_path):
    one = trainer(tmp_path, seconds=80.0, clock=Clock())
    one.run(until=8)
    assert one.schedule.longest_write == 1
    assert one.schedule.reserve == pytest.approx(
        1.2 * one.schedule.slowest_end + one.schedule.longest_step + 2 * one.schedule.longest_write
    )


def test_no_time_for_any_step_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="the time was used up before the first step"):
        trainer(tmp_path, seconds=0.0).run()


def test_a_run_goes_on_in_the_time_that_is_left(tmp_path):
    first = trainer(tmp_path, seconds=40.0, clock=Clock())
    first.run(until=8)
    second = trainer(tmp_path, seconds=40.0, clock=Clock())
    assert second.schedule.used == pytest.approx(checkpoints.load(tmp_path / "latest.safetensors").seconds)
    spent = second.schedule.used
    second.run()
    assert spent < second.schedule.used <= 40
    third = trainer(tmp_path, left=30.0, clock=Clock())
    assert third.schedule.seconds == third.schedule.used + 30


def test_a_signal_ends_the_run_after_its_step_with_the_weights_kept(tmp_path):
    one = trainer(tmp_path)
    step = one.train_step

    def interrupted(batch):
        if one.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(batch)

    one.train_step = interrupted
    with stop_on_signals() as stop:
        one.run(stop=stop)
    assert stop.by == "SIGTERM"
    assert one.step == 3
    assert checkpoints.load(tmp_path / "latest.safetensors").step == 3
    assert checkpoints.load(tmp_path / "best.safetensors").step == 3
    trainer(tmp_path).run(until=6)
    trainer(tmp_path.with_name("whole")).run(until=6)
    stopped, whole = (checkpoints.load(path / "latest.safetensors") for path in (tmp_path, tmp_path.with_name("whole")))
    assert all(torch.equal(stopped.weights[name], whole.weights[name]) for name in whole.weights)
