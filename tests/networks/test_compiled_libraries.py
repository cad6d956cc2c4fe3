"""Which of the compiled convolutions are loaded."""

import ctypes

from onebreath.networks.convolution import loading


def test_a_folder_without_a_library_for_this_computer(tmp_path):
    assert loading.library(tmp_path) is None
    (tmp_path / "_convolution.so").write_bytes(b"\x7fELF of another processor")
    loading.library.cache_clear()
    assert loading.library(tmp_path) is None
    loading.library.cache_clear()


def test_a_library_of_another_version_is_named_and_not_used(tmp_path, monkeypatch, caplog):
    (tmp_path / "_convolution.so").touch()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())  # without any of the functions
    loading.library.cache_clear()
    assert loading.library(tmp_path) is None
    loading.library.cache_clear()
    assert "_convolution.so is of another version" in caplog.text


def test_wide_vectors_come_first(tmp_path):
    names = ["_convolution_avx512.cpython-311.so", "_convolution.cpython-311.so"]
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in loading.libraries(tmp_path)] == names
