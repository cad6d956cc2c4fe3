"""The plain transcription that the benchmark compares with computes the same network."""

import torch

from benchmarks.a_liknet import published_forward, report
from benchmarks.crunet_mr import Task, make_inputs
from onebreath.networks.a_liknet import ALIKNet


def test_transcription_equals_the_network():
    torch.manual_seed(0)
    network = ALIKNet(frames=5, coils=3, iterations=2, channels=4, kspace_channels=(5, 3)).requires_grad_(False)
    inputs = make_inputs(Task(size=(5, 3, 18, 13)))
    torch.testing.assert_close(network(*inputs), published_forward(network, *inputs), rtol=1e-4, atol=1e-5)


def test_the_table_names_both():
    text = report((4, 2, 12, 12), iterations=1, device="cpu", runs=1)
    assert "| plain transcription |" in text
    assert "| onebreath |" in text
