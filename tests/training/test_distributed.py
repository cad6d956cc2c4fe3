import os
import socket

import pytest
import torch
import torch.multiprocessing as mp

from onebreath.errors import ConfigError
from onebreath.training.state.distributed import Group, join
from onebreath.training.trainer import Trainer
from tests.training.recipes import tiny_recipe, tiny_slice


def gradients(group, folder):
    recipe = tiny_recipe(batch=2)
    one = Trainer(recipe, [tiny_slice(0), tiny_slice(1)], [], folder, group)
    one.loss(next(iter(one._batches(0, 1)))).backward()
    return {name: value.grad for name, value in one.network.named_parameters() if value.grad is not None}


def process(rank, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with join("cpu") as group:
        torch.save(gradients(group, folder / str(rank)), folder / f"gradients{rank}.pt")


def test_two_processes_have_the_gradients_of_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(process, (port, tmp_path), nprocs=2)
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
