import itertools
import os
import socket
import time
from contextlib import contextmanager

import pytest
import torch
import torch.multiprocessing as mp

from onebreath.errors import ConfigError
from onebreath.training.state.distributed import Group, join
from onebreath.training.state.stopping import StopRequest
from onebreath.training.trainer import Trainer
from tests.training.recipes import tiny_recipe, tiny_slice


def gradients(group, folder):
    recipe = tiny_recipe(batch=2)
    one = Trainer(recipe, [tiny_slice(0), tiny_slice(1)], [], folder, group)
    one.loss(next(iter(one._batches(0, 1)))).backward()
    return {name: value.grad for name, value in one.network.named_parameters() if value.grad is not None}


@contextmanager
def joined(rank, port):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with join("cpu") as group:
        yield group


def process(rank, port, folder):
    with joined(rank, port) as group:
        torch.save(gradients(group, folder / str(rank)), folder / f"gradients{rank}.pt")


def timed(rank, port, folder, stopped):
    """Train for 60 s of a clock that runs three times as fast in the second process, which alone may be stopped."""
    with joined(rank, port) as group:
        recipe = tiny_recipe(batch=2, steps=10**6, checkpoint_every=4, validate_every=8)
        clock = itertools.count(0, 1 + 2 * rank)
        one = Trainer(
            recipe, [tiny_slice(0)], [tiny_slice(1)], folder, group, seconds=60.0 + rank, clock=lambda: next(clock)
        )
        stop, step, rates = StopRequest(), one.train_step, []

        def counted(batch):
            if stopped and rank == 1 and one.step == 4:
                stop.by = "SIGTERM"
            rates.append(one._rate(one.step))
            return step(batch)

        one.train_step = counted
        one.run(stop=stop)
        torch.save({"rates": torch.tensor(rates), **one.network.state_dict()}, folder / f"{rank}.pt")


def in_two_processes(function, *arguments):
    """Run a function in two processes; an error if they wait for each other forever."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = mp.spawn(function, (port, *arguments), nprocs=2, join=False)
    end = time.monotonic() + 200
    try:
        while not started.join(timeout=max(end - time.monotonic(), 0)):
            assert time.monotonic() < end, "the processes wait for each other"
    finally:
        for one in started.processes:
            one.kill()


@pytest.mark.parametrize("stopped", [False, True])
def test_two_processes_go_by_one_clock_and_end_together(tmp_path, stopped):
    in_two_processes(timed, tmp_path, stopped)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert len(first["rates"]) == 5 if stopped else len(first["rates"]) > 10
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_two_processes_have_the_gradients_of_one(tmp_path):
    in_two_processes(process, tmp_path)
    alone = gradients(Group(0, 1, torch.device("cpu")), tmp_path / "alone")
    for rank in range(2):
        found = torch.load(tmp_path / f"gradients{rank}.pt", weights_only=True)
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_batch_is_shared_evenly():
    assert list(Group(1, 2, torch.device("cpu")).share(6)) == [3, 4, 5]
    with pytest.raises(ConfigError, match="a batch of 3 cannot be divided among 2"):
        Group(0, 2, torch.device("cpu")).share(3)


def test_one_process_needs_no_group(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join("cpu") as group:
        assert (group.rank, group.size, group.first) == (0, 1, True)
