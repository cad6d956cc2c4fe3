"""A TensorFlow checkpoint is read without TensorFlow, and becomes the network that was released.

``released/weights001.tf.*`` was written by TensorFlow 2.21 with ``save_weights``: a small A-LIKNet with the attributes
of the released one (2 frames, 2 coils, 1 iteration, widths 1) and its Adam optimiser. The n-th variable by name holds
n, n + 1/1024, n + 2/1024 and so on.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from onebreath import zoo
from onebreath.errors import ModelError
from onebreath.networks.a_liknet.official import a_liknet
from onebreath.zoo.importers import import_checkpoint, read_state
from onebreath.zoo.tensor_bundle import read_bundle
from tests.networks.a_liknet_golden import Golden

WRITTEN = Path(__file__).parent / "released" / "weights001.tf"
DATA = ".data-00000-of-00001"


def released(iteration=0):
    """Names that TensorFlow gives the variables of an iteration, with those of the golden file."""
    names = {"ksp_dc_weight/scalar": "ksp_dc_weight"}
    here = f"iter{iteration}"
    for theirs, golden in (("ImgDC/{}/weight", "img_dc.weight"), ("ImgLrNet/{}/tau/scalar", "tau"),
                           ("ISL/{}/tau_ksp/scalar", "isl.tau_ksp"), ("ISL/{}/tau_img/scalar", "isl.tau_img"),
                           ("ImgLrNet/{}/p_weight/scalar", "p_weight"),
                           ("ImgLrNet/{}/D/thres_coef", "D.thres_coef")):  # fmt: skip
        names[theirs.format(iteration)] = f"{here}.{golden}"
    for place in (0, 2, 4):
        names[f"KspNet/{iteration}/Nw/{place}/kernel"] = f"{here}.ksp.{place}.conv.kernel"
    for place in (0, 2):
        names[f"KspNet/{iteration}/Nw/{place}/activation/bias"] = f"{here}.ksp.{place}.conv.modrelu_bias"
        for dense in (1, 2):
            for part in ("kernel", "bias"):
                golden = f"{here}.ksp.{place + 1}.se_coil.dense{dense}.{part}"
                names[f"KspNet/{iteration}/Nw/{place + 1}/SE_coil/{dense}/{part}"] = golden
    places = {"0/0/0": "enc0.0", "0/0/1": "enc0.1", "0/1/0": "enc1.0", "0/1/1": "enc1.1", "1/0": "bottleneck.0",
              "1/1": "bottleneck.1", "1/2": "bottleneck.2", "2/0/0": "dec1.0", "2/0/1": "dec1.1", "2/0/3": "dec1.3",
              "2/1/0": "dec0.0", "2/1/1": "dec0.1", "3": "out"}  # fmt: skip
    for theirs, golden in places.items():
        parts = {"kernel": "kernel", "bias": "bias", "activation/bias": "modrelu_bias"}
        for part, stored in parts.items():
            if not (theirs == "3" and stored == "modrelu_bias"):
                names[f"ImgLrNet/{iteration}/R/ops/{theirs}/{part}"] = f"{here}.R.{golden}.{stored}"
    for theirs, golden in (("2/0/2", "dec1"), ("2/1/2", "dec0")):
        for dense in (1, 2):
            for part in ("kernel", "bias"):
                stored = f"{here}.R.{golden}.2.se_time.dense{dense}.{part}"
                names[f"ImgLrNet/{iteration}/R/ops/{theirs}/SE_time/{dense}/{part}"] = stored
    return names


def test_every_number_that_tensorflow_wrote_is_read():
    state = read_bundle(WRITTEN.with_name("weights001.tf.index"))
    assert sorted(state) == sorted(released())
    for index, key in enumerate(sorted(state, key=lambda key: f"{key}/.ATTRIBUTES")):
        expected = index + np.arange(state[key].numel()) / 1024
        assert np.array_equal(state[key].numpy().ravel(), expected.astype(np.float32)), key
    assert state["KspNet/0/Nw/0/kernel"].shape == (5, 5, 3, 2, 1, 2)


def test_it_becomes_a_model(root):
    folder = import_checkpoint("a_liknet", WRITTEN, "a_liknet.released", root)
    loaded = zoo.load(folder.name)
    assert loaded.card.conventions.phase_encoding == "x"
    assert loaded.card.arguments == {
        "frames": 2, "coils": 2, "iterations": 1, "channels": 1, "kspace_channels": [1, 1], "upsample_kernel": 1,
    }  # fmt: skip
    # (k1, k2, k3, in, out, part) is (out, k3, in, k1, k2, part) here; time is the channel axis.
    kernel = read_state(WRITTEN)["KspNet/0/Nw/0/kernel"].permute(4, 2, 3, 0, 1, 5)
    assert torch.equal(loaded.network.state_dict()["iterations.0.kspace.layers.0.weight"], kernel)


def test_golden_weights_under_tensorflows_names_are_those_that_give_the_golden_image(shared):
    """The golden mapping gives the released images (tests/networks/test_a_liknet.py)."""
    names = [f"aliknet_full_{part}" for part in ("io", "weights_iter0", "weights_iter1")]
    golden = Golden(shared / "golden", *names)
    table = {theirs: name for iteration in (0, 1) for theirs, name in released(iteration=iteration).items()}
    found = a_liknet({theirs: torch.from_numpy(golden.arrays[f"weights/{name}"]) for theirs, name in table.items()})
    expected = {f"iterations.{n}.{key}": value for n in (0, 1) for key, value in golden.iteration(n).items()}
    expected["kspace_weight"] = golden.number("weights/ksp_dc_weight")
    assert sorted(found) == sorted(expected)
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def copied(folder):
    for end in (".index", DATA):
        shutil.copy(f"{WRITTEN}{end}", folder)
    return folder / "weights001.tf.index", folder / f"weights001.tf{DATA}"


def test_damage_is_told(tmp_path):
    index, data = copied(tmp_path)
    content = bytearray(data.read_bytes())
    content[:4] = bytes(4)  # the first variable of the file
    data.write_bytes(content)
    with pytest.raises(ModelError, match=r"the numbers of 'ksp_dc_weight/scalar/.*' do not fit their checksum"):
        read_bundle(index)
    data.write_bytes(content[:100])
    with pytest.raises(ModelError, match=r"needs another number: a file is damaged|do not fit"):
        read_bundle(index)
    data.unlink()
    with pytest.raises(ModelError, match=f"there is no weights001.tf{DATA}"):
        read_bundle(index)


def test_a_changed_index_is_told(tmp_path):
    index, _ = copied(tmp_path)
    content = bytearray(index.read_bytes())
    content[40] ^= 1
    index.write_bytes(content)
    with pytest.raises(ModelError, match="a block does not fit its checksum"):
        read_bundle(index)
    index.write_bytes(b"hello")
    with pytest.raises(ModelError, match="does not end as a table does"):
        read_bundle(index)


@pytest.mark.parametrize(
    "name", ["other", "ImgLrNet/0/R/ops/0/0/0/gamma", "KspNet/0/Nw/4/bias", "ImgLrNet/0/R/ops/2/0/2/SE_time/3/bias"]
)
def test_unknown_names_are_refused(name):
    with pytest.raises(ModelError, match=f"not the parameters of A-LIKNet: unknown '{name}'"):
        a_liknet({name: torch.zeros(1)})


def test_thresholds_that_do_not_fit_the_frames_are_refused(tmp_path, root):
    state = read_state(WRITTEN)
    state["ImgLrNet/0/D/thres_coef"] = torch.zeros(80)
    np.savez(tmp_path / "a.npz", **{key: value.numpy() for key, value in state.items()})
    with pytest.raises(ModelError, match="80 thresholds of singular values, but 2 frames are cut into 16"):
        import_checkpoint("a_liknet", tmp_path / "a.npz", "a_liknet.released", root)
