"""The number format of convolutions is chosen by the hardware."""

from contextlib import ExitStack

import pytest
import torch

from onebreath.errors import ModelError
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.shared.precision import bfloat16_is_native, compute_dtype, true_float32


def test_cpu_without_bfloat16_units_keeps_single_precision(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert not bfloat16_is_native(torch.device("cpu"))
    network = CRUNetMR(channels=4, cascades=1)
    assert network.use_precision("auto") == torch.float32
    with pytest.raises(ModelError, match="precision is 'bfloat16', but cpu has no bfloat16"):
        network.use_precision("bfloat16")


@pytest.mark.parametrize("unit", ["avx512_bf16", "amx_bf16"])
def test_cpu_with_bfloat16_units_uses_them(monkeypatch, unit):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {unit: True}, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "DEFAULT")
    assert compute_dtype("auto", torch.device("cpu")) == torch.bfloat16
    assert compute_dtype("float32", torch.device("cpu")) == torch.float32


@pytest.mark.parametrize(("limit", "allowed"), [("AVX2", False), ("avx512_core", False), ("AVX512_CORE_BF16", True)])
def test_a_limit_of_the_instructions_is_obeyed(monkeypatch, limit, allowed):
    """Beyond the limit oneDNN emulates bfloat16, ten times slower."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert compute_dtype("auto", torch.device("cpu")) == (torch.bfloat16 if allowed else torch.float32)
    if not allowed:
        with pytest.raises(ModelError, match=f"ONEDNN_MAX_CPU_ISA is {limit}; set it to DEFAULT"):
            compute_dtype("bfloat16", torch.device("cpu"))


def test_unknown_precision_is_named():
    with pytest.raises(ModelError, match="precision is 'half', expected one of float32, bfloat16, auto"):
        compute_dtype("half", torch.device("cpu"))


@pytest.fixture(params=[True, False])
def tf32(monkeypatch, request):
    """What the process allowed before."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", request.param)
    return request.param


def allowed():
    return torch.backends.cudnn.allow_tf32


def test_float32_is_not_rounded_while_any_user_needs_it(tf32):
    """In whatever order they leave."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(true_float32(torch.float32))
    second.enter_context(true_float32(torch.float32))
    first.close()
    assert not allowed()
    with true_float32(torch.float32):
        pass
    assert not allowed()
    second.close()
    assert allowed() == tf32


def test_an_error_sets_the_switch_back(tf32):
    with pytest.raises(ZeroDivisionError), true_float32(torch.float32):
        assert not allowed()
        raise ZeroDivisionError
    assert allowed() == tf32


def test_other_formats_leave_the_switch_alone(tf32):
    with true_float32(torch.bfloat16):
        assert allowed() == tf32
