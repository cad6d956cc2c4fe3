import pytest
import torch
from safetensors.torch import save_file

from onebreath.errors import ModelError
from onebreath.training.state import checkpoint as module
from onebreath.training.state.checkpoint import Checkpoint, load, save


def state(step: int = 4) -> Checkpoint:
    return Checkpoint(
        step, {"a": torch.ones(2)}, {"a": torch.zeros(2)}, {"a/step": torch.tensor(4.0)}, "{}", 0.5, {"x": 1}, 7.5, 3
    )


def test_a_checkpoint_survives_writing_and_reading(tmp_path):
    save(state(), tmp_path / "run" / "latest.safetensors")
    found = load(tmp_path / "run" / "latest.safetensors")
    assert (found.step, found.recipe, found.best, found.facts) == (4, "{}", 0.5, {"x": 1})
    assert (found.seconds, found.validated) == (7.5, 3)
    assert torch.equal(found.weights["a"], torch.ones(2))
    assert torch.equal(found.average["a"], torch.zeros(2))
    assert found.moments["a/step"].shape == ()


def test_a_failing_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "latest.safetensors"
    save(state(1), path)

    def full_disk(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(module, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save(state(2), path)
    assert load(path).step == 1
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "latest.safetensors"
    save(state(), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cannot be read"):
        load(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(ModelError, match="not a checkpoint of a training"):
        load(path)
    with pytest.raises(ModelError, match="cannot be read"):
        load(tmp_path / "none.safetensors")
