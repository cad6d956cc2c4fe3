"""Saving and loading: the same numbers come back, and any change of the file is refused."""

import hashlib
import io
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_bytes

from onebreath import zoo
from onebreath.errors import ModelError
from onebreath.zoo.store import assemble, decode, read_weights_file
from tests.models import details, random_state, save_model

ARGUMENTS = {"channels": 4, "cascades": 2}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    network=st.sampled_from(["crunet_mr", "crnn_mri", "unet3d_mr"]),
    channels=st.integers(1, 5),
    cascades=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_what_is_saved_is_loaded(root, network, channels, cascades, seed):
    arguments = {"channels": channels, "cascades": cascades}
    state = random_state(network, arguments, seed)
    name = f"{network}.s{seed}-{channels}-{cascades}"
    folder = zoo.save(state, details(name, arguments=arguments), root, overwrite=True)
    loaded = zoo.load(name)
    assert loaded.folder == folder
    assert loaded.card.weights.sha256 == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    found = loaded.network.state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())


def test_half_of_the_bytes_hold_the_same_to_sixteen_bits(root):
    arguments = {"channels": 24, "cascades": 1}
    state = random_state("crunet_mr", arguments, 0)
    whole, half = (
        zoo.save(state, details(f"crunet_mr.{name}", arguments=arguments), root, half=name == "half")
        for name in ("whole", "half")
    )
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    found = zoo.load("crunet_mr.half").network.state_dict()
    assert all(torch.equal(found[key], value.half().float()) for key, value in state.items())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_refused(root, place, bit):
    name = "crunet_mr.flipped"
    folder = root / name if (root / name).exists() else save_model(root, name)
    path = folder / "weights.safetensors"
    good = path.read_bytes()
    bad = bytearray(good)
    bad[int(place * len(bad))] ^= 1 << bit
    path.write_bytes(bad)
    try:
        with pytest.raises(ModelError, match="changed or damaged"):
            read_weights_file(folder, zoo.read_card(folder))
    finally:
        path.write_bytes(good)


def test_a_file_larger_than_the_network_is_not_read(root, monkeypatch):
    folder = save_model(root)
    path = folder / "weights.safetensors"
    with path.open("r+b") as file:
        file.truncate(3 << 30)  # a sparse file: no disk is needed
    card = zoo.read_card(folder)
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(ModelError, match="have 3,221,225,472 bytes, those of the network in the card have at most"):
        read_weights_file(folder, card)


def test_a_model_is_loaded_once_until_its_weights_change(root):
    save_model(root)
    first = zoo.load("crunet_mr.tiny")
    assert zoo.load("crunet_mr.tiny") is first
    zoo.save(random_state("crunet_mr", ARGUMENTS, seed=1), details("crunet_mr.tiny"), root, overwrite=True)
    again = zoo.load("crunet_mr.tiny")
    assert again.card.weights.sha256 != first.card.weights.sha256
    assert not torch.equal(again.network.blocks[0].head.weight, first.network.blocks[0].head.weight)


def set_weights(folder, content):
    """Put a file in place of the weights, with the hash in the card to match."""
    (folder / "weights.safetensors").write_bytes(content)
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "card.yaml").write_text(yaml.safe_dump(card))


def saved_by_torch():
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": 1}), "is a pickle, which can run code"),
        (saved_by_torch(), "is a pickle, which can run code"),
        (b"", "is no safetensors file"),
        (b"\xff" * 64, "is no safetensors file"),
    ],
)
def test_other_formats_are_refused_even_with_the_right_hash(root, content, message):
    folder = save_model(root)
    set_weights(folder, content)
    with pytest.raises(ModelError, match=message):
        zoo.load("crunet_mr.tiny")


def test_weights_that_lie_elsewhere_are_refused(root):
    folder = save_model(root)
    outside = root / "elsewhere.safetensors"
    (folder / "weights.safetensors").rename(outside)
    (folder / "weights.safetensors").symlink_to(outside)
    with pytest.raises(ModelError, match="lie outside the model's folder"):
        zoo.load("crunet_mr.tiny")


def test_missing_weights_are_told(root):
    (save_model(root) / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="the weights cannot be read"):
        zoo.load("crunet_mr.tiny")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("blocks.1.tail.bias"), "missing: blocks.1.tail.bias$"),
        (lambda s: s.update(extra=torch.zeros(1)), "left over: extra$"),
        (
            lambda s: s.update({"blocks.0.tail.bias": torch.zeros(3)}),
            r"'blocks.0.tail.bias' has shape \(3,\), the network needs \(2,\)",
        ),
        (
            lambda s: s.update({"blocks.0.tail.bias": torch.zeros(2, dtype=torch.int32)}),
            "'blocks.0.tail.bias' has type torch.int32, expected a floating type",
        ),
        (
            lambda s: s["blocks.0.tail.bias"].fill_(float("nan")),
            "'blocks.0.tail.bias' holds 2 values that are not finite",
        ),
    ],
)
def test_weights_must_be_those_of_the_network(change, message):
    state = random_state("crunet_mr", ARGUMENTS)
    change(state)
    with pytest.raises(ModelError, match=message):
        assemble("crunet_mr", ARGUMENTS, state, "crunet_mr.tiny")


def test_half_precision_files_are_loaded_as_float32():
    state = {key: value.half() for key, value in random_state("crunet_mr", ARGUMENTS).items()}
    network = assemble("crunet_mr", ARGUMENTS, state, "crunet_mr.tiny")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_nothing_is_left_behind_when_saving_fails(root):
    state = random_state("crunet_mr", ARGUMENTS)
    del state["blocks.0.tail.bias"]
    with pytest.raises(ModelError, match=r"missing: blocks\.0\.tail\.bias"):
        zoo.save(state, details("crunet_mr.tiny"), root)
    assert list(root.iterdir()) == []


def test_a_model_is_not_replaced_by_accident(root):
    folder = save_model(root)
    before = (folder / "card.yaml").read_text()
    with pytest.raises(ModelError, match=r"there is a model 'crunet_mr\.tiny'"):
        save_model(root, version="2")
    assert (folder / "card.yaml").read_text() == before
    assert [path.name for path in root.iterdir()] == ["crunet_mr.tiny"]


def test_a_model_behind_a_link_is_replaced_itself(root):
    save_model(root)
    kept = root / "kept"
    (root / "crunet_mr.tiny").rename(kept)
    (root / "crunet_mr.tiny").symlink_to(kept)
    state = random_state("crunet_mr", ARGUMENTS, 1)
    zoo.save(state, details("crunet_mr.tiny", arguments=ARGUMENTS), root, overwrite=True)
    assert (root / "crunet_mr.tiny").is_symlink()
    assert not kept.is_symlink()
    found = zoo.load("crunet_mr.tiny").network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert sorted(path.name for path in root.iterdir()) == ["crunet_mr.tiny", "kept"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_replaced_model_leaves_nothing_behind(root, monkeypatch, at_once):
    if not at_once:
        monkeypatch.setattr("onebreath.zoo.store.exchange", lambda fresh, target: False)
    for seed in (0, 1):
        state = random_state("crunet_mr", ARGUMENTS, seed)
        zoo.save(state, details("crunet_mr.again", arguments=ARGUMENTS), root, overwrite=True)
    assert [path.name for path in root.iterdir()] == ["crunet_mr.again"]
    assert sorted(path.name for path in (root / "crunet_mr.again").iterdir()) == ["card.yaml", "weights.safetensors"]
    found = zoo.load("crunet_mr.again").network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_weights_whose_header_begins_as_a_pickle_does_are_read(length):
    """The first bytes of a safetensors file are the length of its header; 640 is 0x80 0x02."""
    state = {"a": torch.ones(2)}
    content = save_bytes(state, {"x": "0" * (length - 200)})
    header = int.from_bytes(content[:8], "little")
    content = save_bytes(state, {"x": "0" * (length - 200 + length - header)})
    assert content[:2] == length.to_bytes(2, "little")
    assert torch.equal(decode(content, "here")["a"], state["a"])
