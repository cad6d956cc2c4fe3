"""Cores are shared with other programs: OpenMP's threads sleep while they wait."""

import os
import subprocess
import sys

import pytest

from onebreath import threads
from onebreath.threads import narrow_vectors

SHOW = """
import os
from onebreath.cli import main
main(["configs", "list"])
print("POLICY", os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_commands_let_waiting_threads_sleep_unless_told_otherwise(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    assert f"POLICY {expected}" in done.stdout


def test_torch_is_not_there_yet():
    """OpenMP reads the environment when torch loads it."""
    code = "import sys, onebreath.cli, onebreath.host.entry; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


REUSED = """
import resource, sys
from onebreath.threads import reuse_memory
if sys.argv[1] == "reused":
    reuse_memory()
import numpy as np
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.empty(80 << 20, np.uint8)[::4096] = 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the GNU C library")
def test_large_arrays_get_the_memory_of_earlier_ones():
    def faults(how):
        done = subprocess.run([sys.executable, "-c", REUSED, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("reused") < 100 < faults("as usual")


PROCESSORS = {
    "Zen 4": ("AuthenticAMD", 25, "fma avx2 avx512f avx512_bf16", "AVX2"),
    "Zen 3": ("AuthenticAMD", 25, "fma avx2", None),
    "Zen 5": ("AuthenticAMD", 26, "fma avx2 avx512f avx512_bf16", None),
    "Sapphire Rapids": ("GenuineIntel", 6, "fma avx2 avx512f amx_bf16", None),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_vectors_are_as_long_as_the_units(name, tmp_path, monkeypatch):
    vendor, family, flags, wanted = PROCESSORS[name]
    one = f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\nflags\t\t: {flags}\n\n"
    file = tmp_path / "cpuinfo"
    file.write_text(one + one.replace(": 0", ": 1"))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "x")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    narrow_vectors(file)
    assert os.environ.get("ONEDNN_MAX_CPU_ISA") == wanted


def test_vectors_stay_as_the_environment_says(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text("vendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: avx512f\n")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "DEFAULT")
    narrow_vectors(file)
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "DEFAULT"
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    narrow_vectors(tmp_path / "absent")
    assert "ONEDNN_MAX_CPU_ISA" not in os.environ


@pytest.mark.parametrize("narrow", [True, False])
def test_a_process_settles_all_at_once_but_training_keeps_wide_vectors(narrow, monkeypatch):
    done = []
    for name in ("share_cores", "reuse_memory", "narrow_vectors"):
        monkeypatch.setattr(threads, name, lambda name=name: done.append(name))
    threads.settle_process(narrow)
    assert done == ["share_cores", "reuse_memory", "narrow_vectors"][: 3 if narrow else 2]
