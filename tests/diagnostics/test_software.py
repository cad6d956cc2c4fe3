"""Which software this is."""

import re

import pytest

from onebreath.diagnostics import software


@pytest.fixture(autouse=True)
def fresh():
    software.commit.cache_clear()
    software.code_sha256.cache_clear()
    yield
    software.commit.cache_clear()
    software.code_sha256.cache_clear()


@pytest.mark.parametrize("where", ["loose", "packed", "detached"])
def test_the_commit_of_a_checkout(tmp_path, monkeypatch, where):
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    wanted = "0123456789abcdef" * 2 + "01234567"
    (git / "HEAD").write_text(f"{wanted}\n" if where == "detached" else "ref: refs/heads/main\n")
    if where == "loose":
        (git / "refs/heads/main").write_text(f"{wanted}\n")
    (git / "packed-refs").write_text(f"# pack-refs\n{wanted} refs/heads/main\n" if where == "packed" else "# none\n")
    monkeypatch.setattr(software, "_PACKAGE", tmp_path / "gadgets" / "onebreath")
    assert software.commit() == wanted


def test_a_damaged_checkout_is_unknown(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(software, "_PACKAGE", tmp_path / "gadgets" / "onebreath")
    assert software.commit() == software.UNKNOWN


def test_the_code_has_another_hash_when_a_line_or_a_name_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(software, "_PACKAGE", tmp_path)
    hashes = set()
    for name, text in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 2")):
        (tmp_path / name).write_text(text)
        software.code_sha256.cache_clear()
        hashes.add(software.code_sha256())
    assert len(hashes) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", found) for found in hashes)
