import json

import pytest
import torch

from onebreath.errors import ConfigError, TrainingError
from onebreath.training.state import checkpoint as checkpoints
from onebreath.training.state.distributed import Group
from onebreath.training.state.start import Start, load_start
from onebreath.training.trainer import Trainer
from tests.training.recipes import tiny_recipe, tiny_slice
from tests.training.test_examples import undersampled

ALONE = Group(0, 1, torch.device("cpu"))


def trainer(folder, recipe=None, validate=True, slices=None):
    held_out = [tiny_slice(9, "two")] if validate else []
    return Trainer(recipe or tiny_recipe(), slices or [tiny_slice(0), tiny_slice(1)], held_out, folder, ALONE)


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_stopped_training_ends_bit_equal(tmp_path, stop):
    trainer(tmp_path / "whole").run()
    trainer(tmp_path / "parts").run(until=stop)
    trainer(tmp_path / "parts").run()
    whole, parts = (checkpoints.load(tmp_path / name / "latest.safetensors") for name in ("whole", "parts"))
    assert parts.step == whole.step == 6
    assert same(whole.weights, parts.weights)
    assert same(whole.average, parts.average)
    assert same(whole.moments, parts.moments)
    assert whole.best == parts.best


def test_a_run_that_is_longer_than_asked_for_says_so(tmp_path, caplog):
    trainer(tmp_path).run(until=4)
    trainer(tmp_path, tiny_recipe(steps=3)).run()
    assert "nothing is trained: the run has made 4 steps, more than 3" in caplog.text


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path):
    trainer(tmp_path / "whole").run()
    killed = trainer(tmp_path / "killed")
    batches = iter(killed._batches(0, 6))
    for _ in range(3):
        killed.train_step(next(batches))
        if killed.step == 2:
            killed._save("latest.safetensors")
    trainer(tmp_path / "killed").run()
    whole, parts = (checkpoints.load(tmp_path / name / "latest.safetensors") for name in ("whole", "killed"))
    assert same(whole.weights, parts.weights)


@pytest.mark.parametrize("step", [3, 6])
def test_a_training_killed_in_its_validation_makes_it_when_it_goes_on(tmp_path, step, monkeypatch):
    often = tiny_recipe(checkpoint_every=3)
    trainer(tmp_path / "whole", often).run()
    killed = trainer(tmp_path / "killed", often)
    validation_loss = killed.validation_loss

    def interrupted():
        if killed.step == step:
            raise KeyboardInterrupt
        return validation_loss()

    monkeypatch.setattr(killed, "validation_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert checkpoints.load(tmp_path / "killed" / "latest.safetensors").step == step
    again = trainer(tmp_path / "killed", often)
    again.run()
    entries = [json.loads(line) for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "validation_loss" in entry] == [3, 6]
    whole, best = (checkpoints.load(tmp_path / name / "best.safetensors") for name in ("whole", "killed"))
    assert (best.step, best.best) == (whole.step, whole.best)
    trainer(tmp_path / "killed", often).run()
    assert len((tmp_path / "killed" / "log.jsonl").read_text().splitlines()) == len(entries)


def test_worker_processes_change_nothing(tmp_path):
    short = {"steps": 2}
    trainer(tmp_path / "alone", tiny_recipe(**short), validate=False).run()
    trainer(tmp_path / "helped", tiny_recipe(**short, workers=1), validate=False).run()
    alone, helped = (checkpoints.load(tmp_path / name / "latest.safetensors") for name in ("alone", "helped"))
    assert same(alone.weights, helped.weights)


def test_training_lowers_the_loss_and_keeps_the_best_average(tmp_path):
    longer = tiny_recipe(steps=40, validate_every=20, optimiser={"learning_rate": 3e-3, "warm_up": 5, "ema": 0.8})
    one = trainer(tmp_path, longer)
    before = one.validation_loss()
    one.run()
    assert one.best < 0.97 * before
    best = checkpoints.load(tmp_path / "best.safetensors")
    assert best.best == pytest.approx(one.best)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if "validation_loss" in entry] == [20, 40]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    one = trainer(tmp_path)
    one.run(until=2)
    with torch.no_grad():
        next(one.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan at step 3"):
        one.run()
    kept = checkpoints.load(tmp_path / "latest.safetensors")
    assert kept.step == 2
    assert all(bool(value.isfinite().all()) for value in kept.weights.values())


def test_a_validation_loss_that_is_not_finite_stops(tmp_path, monkeypatch):
    one = trainer(tmp_path)
    monkeypatch.setattr(one.task, "validation_loss", lambda network, batch: torch.tensor(float("nan")))
    with pytest.raises(TrainingError, match="validation example 1 is nan"):
        one.run()
    assert checkpoints.load(tmp_path / "latest.safetensors").step > 0


def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path, monkeypatch):
    one = trainer(tmp_path)
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    whole = one.loss

    def broken(batch):
        loss = whole(batch)
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    monkeypatch.setattr(one, "loss", broken)
    with pytest.raises(TrainingError, match="gradient is not finite at step 1"):
        one.run()
    assert same(before, one.network.state_dict())
    assert not (tmp_path / "latest.safetensors").exists()


def test_a_run_folder_of_another_recipe_is_refused(tmp_path):
    trainer(tmp_path).run(until=2)
    with pytest.raises(ConfigError, match="differs in batch"):
        trainer(tmp_path, tiny_recipe(batch=2))
    trainer(tmp_path, tiny_recipe(steps=8))


def test_training_without_full_samples(tmp_path):
    split = {"hidden": 0.3, "keep_centre": 2}
    recipe = tiny_recipe(self_supervised=split, steps=3, examples={"frames": 4, "columns": 16})
    one = Trainer(recipe, [undersampled()], [undersampled(1)], tmp_path, ALONE)
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    one.run()
    assert not same(before, one.network.state_dict())
    assert 0 < checkpoints.load(tmp_path / "best.safetensors").best < 3
    assert (tmp_path / "progress.png").is_file()
    with pytest.raises(ConfigError, match="set self_supervised"):
        trainer(tmp_path / "other", tiny_recipe(), slices=[undersampled()])


@pytest.mark.parametrize(
    ("changes", "validate", "said"),
    [
        ({}, None, "examples.rows: does nothing here"),
        ({"examples": {"columns": 16, "noise_factor": [1, 3]}}, None, "examples.noise_factor: does nothing here"),
        ({}, "incomplete", "examples.rows: does nothing here"),
        ({}, "complete", ""),
        ({"examples": {"columns": 16}}, None, ""),
    ],
)
def test_fields_that_slices_without_all_lines_do_not_use_are_refused(tmp_path, changes, validate, said):
    sources = [{"kind": "simulator", "subjects": 1, "first_seed": 9}] if validate else []
    recipe = tiny_recipe(self_supervised={"hidden": 0.3}, validate_on=sources, **changes)
    validated = {None: [], "incomplete": [undersampled(1)], "complete": [tiny_slice(1)]}[validate]
    if said:
        with pytest.raises(ConfigError, match=said):
            Trainer(recipe, [undersampled()], validated, tmp_path, ALONE)
    else:
        Trainer(recipe, [undersampled()], validated, tmp_path, ALONE)


def test_fine_tuning_starts_from_given_weights(tmp_path):
    trainer(tmp_path / "first").run()
    path = tmp_path / "first" / "latest.safetensors"
    start = load_start(str(path))

    def second(given):
        return Trainer(tiny_recipe(), [tiny_slice(0)], [], tmp_path / "second", ALONE, given)

    one = second(start)
    assert same(one.network.state_dict(), checkpoints.load(path).average)
    one.run(until=2)
    assert checkpoints.load(tmp_path / "second" / "latest.safetensors").facts == {"start": str(path)}
    assert second(start).step == second(None).step == 2


@pytest.mark.parametrize(("first", "text"), [(None, "new weights"), ("a", "the weights of a")])
def test_a_run_of_another_start_is_refused(tmp_path, first, text):
    fresh = trainer(tmp_path / "any").network.state_dict()
    starts = {name: Start(name, tiny_recipe().network, fresh) for name in "ab"}
    Trainer(tiny_recipe(), [tiny_slice(0)], [], tmp_path / "run", ALONE, starts.get(first)).run(until=2)
    with pytest.raises(ConfigError, match=f"started from {text} and would go on without those of b"):
        Trainer(tiny_recipe(), [tiny_slice(0)], [], tmp_path / "run", ALONE, starts["b"])


def test_cascade_checkpointing_changes_no_gradient(tmp_path):
    def gradients(checkpointing):
        arguments = {"channels": 4, "cascades": 2, "data_consistency": "soft", "checkpointing": checkpointing}
        recipe = tiny_recipe(network={"architecture": "crunet_mr", "arguments": arguments})
        one = trainer(tmp_path / str(checkpointing), recipe)
        one.loss(next(iter(one._batches(0, 1)))).backward()
        return {name: value.grad for name, value in one.network.named_parameters() if value.grad is not None}

    assert same(gradients(False), gradients(True))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_float32_is_not_rounded_to_tf32(tmp_path, monkeypatch, precision):
    """Neither forwards nor backwards, nor in validation."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "DEFAULT")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    one, seen = trainer(tmp_path, tiny_recipe(precision=precision, steps=2, validate_every=2)), []
    layer = next(module for module in one.network.modules() if isinstance(module, torch.nn.Conv2d))

    def note(way):
        seen.append((way, torch.is_grad_enabled(), torch.backends.cudnn.allow_tf32))

    layer.register_forward_hook(lambda *_: note("forward"))
    layer.weight.register_hook(lambda gradient: note("backward"))
    one.run()
    assert {way for way, *_ in seen} == {"forward", "backward"}
    assert {grad for _, grad, _ in seen} == {True, False}
    assert {allowed for *_, allowed in seen} == {precision != "float32"}
    assert torch.backends.cudnn.allow_tf32
