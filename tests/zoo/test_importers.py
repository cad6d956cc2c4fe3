"""Released checkpoints become models that compute what the released networks computed."""

import re

import numpy as np
import pytest
import torch

from onebreath import zoo
from onebreath.errors import ModelError
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.zoo.importers import import_checkpoint
from tests.helpers import relative_error
from tests.models import TINY, random_state
from tests.networks.test_prompt_mr_plus import released_state

CASES = {
    "crunet_mr": ("crunet_base", {}),
    "crunet_mr_bank": ("crunet_bank_conv_official", {}),
    "crnn_mri": ("crnn_mri_multicoil_unshared", {}),
}


def golden(shared, name):
    return np.load(shared / "golden" / f"{name}.npz")


def weights(stored):
    return {key[8:]: torch.from_numpy(stored[key]) for key in stored if key.startswith("weights/")}


def output(network, stored):
    kspace, mask, maps = (torch.from_numpy(stored[f"in/{key}"]) for key in ("kspace", "mask", "sens_maps"))
    with torch.inference_mode():
        return network(kspace, mask, maps)


@pytest.mark.parametrize("kind", CASES)
def test_an_imported_model_computes_what_the_released_network_computed(shared, root, kind):
    name, arguments = CASES[kind]
    stored = golden(shared, name)
    file = root / "released.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in weights(stored).items()}}, file)
    folder = import_checkpoint(kind, file, f"{kind.removesuffix('_bank')}.released", root, arguments)
    loaded = zoo.load(folder.name)
    assert relative_error(output(loaded.network, stored), stored["out/image"]) <= 3e-5


def test_released_mr_ipt_is_imported_without_its_dead_parts_and_told_where_its_lines_run(shared, root):
    stored = golden(shared, "mript_tiny_split")
    file = root / "released.pth"
    torch.save(weights(stored), file)
    import_checkpoint("mr_ipt", file, "mr_ipt.released", root, {"decoder_heads": 4})
    loaded = zoo.load("mr_ipt.released")
    assert loaded.card.conventions.phase_encoding == "x"
    assert loaded.card.conventions.normalisation == "max_image"
    with torch.inference_mode():
        image = loaded.network(torch.from_numpy(stored["in/image"]), stored["in/levels"], stored["in/types"])
    assert relative_error(image, stored["out/image"]) <= 1e-5


def test_a_checkpoint_of_promptmrs_training_program(shared, root):
    """As Lightning writes it: the network inside a module with a loss, beside hyper-parameters and optimiser."""
    stored = golden(shared, "promptmr_tiny")
    state = {f"promptmr.{key}": value for key, value in weights(stored).items()}
    content = {
        "epoch": 11,
        "pytorch-lightning_version": "1.9.0",
        "state_dict": {**state, "loss.w": torch.ones(1, 1, 7, 7) / 49},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 2e-4}]}],
        "lr_schedulers": [{"step_size": 11, "gamma": 0.1}],
        "hyper_parameters": {"num_cascades": 2, "feature_dim": [12, 16, 20]},
        "callbacks": {"ModelCheckpoint": {"best_model_path": "x.ckpt", "best_model_score": torch.tensor(0.1)}},
    }
    torch.save(content, root / "promptmr.ckpt")
    card = zoo.read_card(import_checkpoint("prompt_mr", root / "promptmr.ckpt", "prompt_mr.released", root))
    assert card.conventions.phase_encoding == "x"
    assert card.arguments == {
        "cascades": 2,
        "window": 5,
        "channels": [8, 12, 16, 20],
        "prompt_channels": [4, 8, 12],
        "prompt_sizes": [16, 8, 4],
        "prompts": 5,
        "encoder_blocks": [2, 3, 3],
        "decoder_blocks": [2, 2, 3],
        "bottleneck_blocks": 3,
        "sensitivity_channels": [4, 8, 8, 12],
        "sensitivity_prompt_channels": [4, 4, 8],
    }
    kspace = torch.from_numpy(stored["in/kspace"]).unflatten(1, (5, 3))
    mask = torch.from_numpy(stored["in/mask"])[..., 0][:, :, None]
    with torch.inference_mode():
        image = zoo.load(card.name).network(kspace, mask, torch.ones_like(kspace))
    assert relative_error(image[:, 2].real, stored["out/image"]) <= 1e-5


def with_prompts(state, counts, net):
    """Released weights with other numbers of prompts on the three levels of the nets whose names begin so."""
    changed = dict(state)
    for level, count in enumerate(counts, start=1):
        for key, value in state.items():
            if re.search(rf"^{net}.*\.prompt_level{level}\.", key):
                if key.endswith("prompt_param"):
                    changed[key] = value[:, torch.arange(count) % value.shape[1]]
                elif ".linear_layer." in key:
                    changed[key] = value[torch.arange(count) % len(value)]
    return changed


def test_every_level_may_have_its_own_number_of_prompts(shared, root):
    """Four, five and three prompts, as some released weights have, and two in the sensitivity network."""
    state = with_prompts(weights(golden(shared, "promptmr_tiny")), (4, 5, 3), "cascades")
    torch.save(with_prompts(state, (2, 2, 2), "sens_net"), root / "released.pth")
    card = zoo.read_card(import_checkpoint("prompt_mr", root / "released.pth", "prompt_mr.released", root))
    assert card.arguments["prompts"] == [4, 5, 3]
    assert card.arguments["sensitivity_prompts"] == 2
    loaded = zoo.load(card.name).network.state_dict()
    found = [loaded[f"blocks.1.decoder.{2 - level}.prompt.prompts"].shape[0] for level in range(3)]
    assert found == [4, 5, 3]
    released = state["cascades.1.model.unet.prompt_level3.prompt_param"][0]
    assert torch.equal(loaded["blocks.1.decoder.0.prompt.prompts"], released)


def test_promptmr_plus_is_not_taken_for_promptmr(shared, root):
    state = weights(golden(shared, "promptmr_tiny"))
    state["cascades.0.model.unet.dec_level3.momentum.0.weight"] = torch.zeros(1)
    torch.save(state, root / "a.pth")
    with pytest.raises(ModelError, match=r"these are weights of PromptMR\+ .*; import them as prompt_mr_plus"):
        import_checkpoint("prompt_mr", root / "a.pth", "prompt_mr.a", root)


def test_promptmr_plus_is_imported_with_its_sizes(root):
    released = {f"promptmr.{key}": value.float() for key, value in released_state().items()}
    torch.save({"state_dict": released}, root / "plus.ckpt")
    card = zoo.read_card(import_checkpoint("prompt_mr_plus", root / "plus.ckpt", "prompt_mr_plus.released", root))
    assert (card.architecture, card.conventions.phase_encoding) == ("prompt_mr_plus", "x")
    assert (card.arguments["buffers"], card.arguments["history"], card.arguments["prompts"]) == (4, 2, 3)
    state = zoo.load(card.name).network.state_dict()
    found = state["blocks.1.decoder.2.mix.weight"]
    assert torch.equal(found, released["promptmr.cascades.1.model.unet.dec_level1.momentum.0.weight"])


def test_a_missing_parameter_of_promptmr_is_named(root):
    state = random_state("prompt_mr", TINY["prompt_mr"])
    del state["blocks.0.decoder.1.prompt.prompts"]
    torch.save(state, root / "own.pth")
    with pytest.raises(ModelError, match=r"not those of PromptMR: parameter 'blocks.0.decoder.1.prompt.prompts' is"):
        import_checkpoint("prompt_mr", root / "own.pth", "prompt_mr.own", root)


def test_every_argument_of_promptmr_is_inferred(root):
    torch.save(random_state("prompt_mr", TINY["prompt_mr"]), root / "own.pth")
    found = zoo.read_card(import_checkpoint("prompt_mr", root / "own.pth", "prompt_mr.own", root)).arguments
    shown = {key: value for key, value in TINY["prompt_mr"].items() if key != "combination"}
    assert found == {"prompts": 5, "bottleneck_blocks": 3, **shown}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_every_format_gives_the_same_model(shared, root, suffix):
    from safetensors.torch import save_file

    state = weights(golden(shared, "crunet_base"))
    file = root / f"released{suffix}"
    if suffix == ".npz":
        np.savez(file, **{key: value.numpy() for key, value in state.items()})
    else:
        (torch.save if suffix == ".pth" else save_file)(state, file)
    folder = import_checkpoint("crunet_mr", file, "crunet_mr.released", root)
    found = zoo.load(folder.name).network.state_dict()
    assert torch.equal(found["blocks.0.tail.weight"], state["cascades.0.conv.weight"])


def test_shared_weights_and_cascades_that_no_shape_shows(shared, root):
    file = root / "released.pth"
    torch.save(weights(golden(shared, "crnn_mri_multicoil_shared")), file)
    card = zoo.read_card(import_checkpoint("crnn_mri", file, "crnn_mri.released", root, {"cascades": 7}))
    assert card.arguments == {"channels": 8, "shared": True, "cascades": 7}
    assert len(zoo.load(card.name).network.consistency) == 7


@pytest.mark.parametrize(
    "arguments",
    [
        {"channels": 4, "cascades": 3},
        {"channels": 4, "cascades": 2, "side_branches": False},
        {"channels": 4, "cascades": 2, "side_kernel": 3, "cross_cascade": False},
        {"channels": 4, "cascades": 4, "fusion": "conv", "bank_window": 2},
        {"channels": 8, "cascades": 3, "fusion": "ca", "ca_reduction": 4},
        {"channels": 8, "cascades": 3, "fusion": "ca", "ca_style": "se", "ca_reduction": 2, "bank_window": 1},
    ],
)
def test_arguments_are_inferred_from_shapes(root, arguments):
    file = root / "own.pth"
    torch.save({"model": random_state("crunet_mr", arguments)}, file)
    found = zoo.read_card(import_checkpoint("crunet_mr", file, "crunet_mr.own", root)).arguments
    defaults = {"side_branches": True, "side_kernel": 1, "ca_style": "cab"}
    assert {**defaults, **found} == {**defaults, **arguments}
    zoo.load("crunet_mr.own")


def test_one_parameter_too_few_is_named(shared, root):
    state = weights(golden(shared, "crunet_base"))
    del state["cascades.1.conv.bias"]
    torch.save(state, root / "released.pth")
    with pytest.raises(ModelError, match=r"missing \['cascades.1.conv.bias'\]"):
        import_checkpoint("crunet_mr", root / "released.pth", "crunet_mr.released", root)
    assert [path.name for path in root.iterdir()] == ["released.pth"]


class Harmful:
    """Would write a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_checkpoint_that_runs_code_is_refused_before_it_does(root):
    torch.save(
        {"state_dict": CRUNetMR(channels=1, cascades=1).state_dict(), "x": Harmful(root / "ran")}, root / "a.pth"
    )
    with pytest.raises(ModelError, match="nothing else is read, since it could run code"):
        import_checkpoint("crunet_mr", root / "a.pth", "crunet_mr.a", root)
    np.savez(root / "a.npz", x=np.array([Harmful(root / "ran")], dtype=object))
    with pytest.raises(ModelError, match="no npz file of plain arrays"):
        import_checkpoint("crunet_mr", root / "a.npz", "crunet_mr.a", root)
    assert not (root / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "found list"),
        ({}, "it is empty"),
        ({"epoch": 3}, "'epoch' is int"),
        ({"blocks.0.tail.bias": torch.zeros(2)}, "parameter 'blocks.0.head.weight' is missing"),
    ],
)
def test_other_content_is_refused(root, content, message):
    torch.save(content, root / "a.pth")
    with pytest.raises(ModelError, match=message):
        import_checkpoint("crunet_mr", root / "a.pth", "crunet_mr.a", root)


def test_other_files_and_kinds_are_refused(root):
    (root / "a.pth").write_bytes(b"hello")
    with pytest.raises(ModelError, match="is no checkpoint of PyTorch"):
        import_checkpoint("crunet_mr", root / "a.pth", "crunet_mr.a", root)
    with pytest.raises(ModelError, match="there is no file"):
        import_checkpoint("crunet_mr", root / "b.npz", "crunet_mr.a", root)
    names = "crunet_mr, crunet_mr_bank, crnn_mri, mr_ipt, prompt_mr, prompt_mr_plus, cinenet, a_liknet, unet"
    with pytest.raises(ModelError, match=f"known are: {names}"):
        import_checkpoint("promptmr", root / "a.pth", "crunet_mr.a", root)
