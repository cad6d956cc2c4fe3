"""``onebreath models``."""

import hashlib
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from onebreath import zoo
from onebreath.cli import main
from tests.models import random_state, save_model


def test_list_and_show(root, capsys):
    save_model(root)
    save_model(root, "crnn_mri.other", summary="another")
    assert main(["models", "list", "crnn*other"]) == 0
    assert capsys.readouterr().out == "crnn_mri.other       0  another\n"
    assert main(["models", "show", "crunet_mr.tiny"]) == 0
    assert "sha256: " in capsys.readouterr().out


def test_check_finds_the_damaged_one(root, capsys):
    save_model(root)
    damaged = save_model(root, "crnn_mri.other") / "weights.safetensors"
    assert main(["models", "check"]) == 0
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert main(["models", "check"]) == 1
    out = capsys.readouterr().out
    assert "crnn_mri.other: WRONG" in out
    assert "crunet_mr.tiny: right, " in out


def test_export_and_import_give_the_same_model(root, tmp_path_factory, capsys):
    folder = save_model(root)
    archive, other = root / "model.zip", tmp_path_factory.mktemp("other")
    assert main(["models", "export", "crunet_mr.tiny", str(archive)]) == 0
    assert main(["models", "import", str(archive), "--from", "zip", "--to", str(other)]) == 0
    for file in ("card.yaml", "weights.safetensors"):
        assert (other / "crunet_mr.tiny" / file).read_bytes() == (folder / file).read_bytes()


@pytest.mark.parametrize("made_by", ["an archive", "a checkpoint", "new weights"])
def test_a_model_that_exists_is_replaced_as_its_refusal_says(root, capsys, made_by):
    """The refusal names the option that helps, and every command that makes a model has it."""
    name = "crunet_mr.tiny"
    folder = save_model(root)
    assert main(["models", "export", name, str(root / "model.zip")]) == 0
    torch.save(random_state("crunet_mr", {"channels": 2, "cascades": 1}), root / "a.pth")
    command = {
        "an archive": ["import", str(root / "model.zip"), "--from", "zip"],
        "a checkpoint": ["import", str(root / "a.pth"), "--from", "crunet_mr", "--name", name],
        "new weights": ["new", name],
    }[made_by]
    (folder / "card.yaml").write_text("left from before")
    assert main(["models", *command, "--to", str(root)]) == 1
    assert f"'{name}' at {folder} already; say --overwrite to replace it" in capsys.readouterr().err
    assert (folder / "card.yaml").read_text() == "left from before"
    assert main(["models", *command, "--to", str(root), "--overwrite"]) == 0
    assert zoo.read_card(folder).name == name
    assert sorted(path.name for path in folder.iterdir()) == ["card.yaml", "weights.safetensors"]


@pytest.mark.parametrize("option", ["--name", "--licence", "--set"])
def test_an_archive_is_unpacked_as_it_is(root, option, capsys):
    """What would be ignored is refused: the model would have another name than the user said."""
    save_model(root)
    assert main(["models", "export", "crunet_mr.tiny", str(root / "model.zip")]) == 0
    told = [option, "crunet_mr.mine" if option == "--name" else "channels=2"]
    assert main(["models", "import", str(root / "model.zip"), "--from", "zip", "--to", str(root / "to"), *told]) == 1
    assert f"leave out {option}" in capsys.readouterr().err
    assert not (root / "to").exists()


def import_of_another_archive(root, other, change):
    """Try to import a model's archive after a change of its files, by name; nothing may be there then."""
    files = {path.name: path.read_bytes() for path in save_model(root).iterdir()}
    change(files)
    with zipfile.ZipFile(root / "bad.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    assert main(["models", "import", str(root / "bad.zip"), "--from", "zip", "--to", str(other)]) == 1
    assert list(other.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: files.update({"../evil": b""}), "expected card.yaml and weights.safetensors"),
        (lambda files: files.pop("card.yaml"), "is no exported model"),
        (lambda files: files.update({"weights.safetensors": b"x"}), "changed or damaged"),
    ],
)
def test_other_archives_are_refused(root, tmp_path_factory, capsys, change, message):
    import_of_another_archive(root, tmp_path_factory.mktemp("other"), change)
    assert message in capsys.readouterr().err


def test_import_with_arguments(root, capsys):
    file = root / "a.pth"
    torch.save(random_state("crunet_mr", {"channels": 2, "cascades": 1}), file)
    command = ["models", "import", str(file), "--from", "crunet_mr"]
    assert main(command) == 1
    assert "give one with --name" in capsys.readouterr().err
    settings = ["--set", "dilations=[1, 3, 5]", "--licence", "MIT", "--name", "crunet_mr.wide"]
    assert main([*command, *settings]) == 0
    card = zoo.read_card(zoo.find("crunet_mr.wide"))
    assert card.arguments["dilations"] == [1, 3, 5]
    assert card.licence == "MIT"
    assert main([*command, "--name", "crunet_mr.b", "--set", "dilations"]) == 1
    assert "expected ARGUMENT=VALUE" in capsys.readouterr().err


def bad_bit(files):
    content = bytearray(files["weights.safetensors"])
    content[-3] ^= 4
    files["weights.safetensors"] = bytes(content)


def with_weights(content):
    def change(files):
        card = yaml.safe_load(files["card.yaml"])
        card["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
        files |= {"weights.safetensors": content, "card.yaml": yaml.safe_dump(card).encode()}

    return change


def with_card(**fields):
    def change(files):
        files["card.yaml"] = yaml.safe_dump({**yaml.safe_load(files["card.yaml"]), **fields}).encode()

    return change


class Runs:
    """What a pickle can do to whoever reads it."""

    def __reduce__(self):
        return Path.touch, (Path("hacked"),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (bad_bit, "changed or damaged"),
        (with_card(weights={"sha256": "0" * 64}), "changed or damaged"),
        (with_weights(pickle.dumps(Runs())), "is a pickle, which can run code"),
        (with_card(run="rm -rf /"), "there is no field 'run'"),
        (with_card(name="../evil.x"), "is not of the form"),
        (with_card(name="/etc.x"), "is not of the form"),
        (with_card(weights={"file": "../w.safetensors", "sha256": "0" * 64}), "model's own folder"),
        (
            lambda files: files.update({"card.yaml": b"!!python/object/apply:pathlib.Path.touch [hacked]"}),
            "no exported",
        ),
        (lambda files: files.update({"card.yaml": b"#" * 1_000_001}), "would unpack to"),
        (lambda files: files.update({"card.yaml": b"name: \xba"}), "no exported model"),
        (lambda files: files.update({"/tmp/evil": b""}), "expected card.yaml and weights.safetensors"),
        (lambda files: files.update({"..\\evil": b""}), "expected card.yaml and weights.safetensors"),
        (lambda files: files.update({"crunet_mr.tiny/card.yaml": b""}), "expected card.yaml and weights.safetensors"),
    ],
)
def test_nothing_harmful_is_imported_executed_or_half_installed(
    root, tmp_path_factory, monkeypatch, capsys, change, message
):
    monkeypatch.chdir(root)
    import_of_another_archive(root, tmp_path_factory.mktemp("other"), change)
    assert message in capsys.readouterr().err
    assert not (root / "hacked").exists()


def test_two_members_of_one_name_are_refused(root, tmp_path_factory, capsys):
    folder, other = save_model(root), tmp_path_factory.mktemp("other")
    with zipfile.ZipFile(root / "bad.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for name in ("card.yaml", "weights.safetensors", "card.yaml"):
            archive.write(folder / name, name)
    assert main(["models", "import", str(root / "bad.zip"), "--from", "zip", "--to", str(other)]) == 1
    assert "is no exported model: it holds" in capsys.readouterr().err
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("cut", [10, 200])
def test_a_damaged_archive_is_refused(root, tmp_path_factory, capsys, cut):
    save_model(root)
    archive, other = root / "model.zip", tmp_path_factory.mktemp("other")
    main(["models", "export", "crunet_mr.tiny", str(archive)])
    archive.write_bytes(archive.read_bytes()[:-cut])
    assert main(["models", "import", str(archive), "--from", "zip", "--to", str(other)]) == 1
    assert "is no exported model" in capsys.readouterr().err
    assert list(other.iterdir()) == []


def test_a_name_that_leads_elsewhere_is_never_opened(root, capsys):
    for name in ("../secret.x", "/etc/passwd", "a/b.c"):
        assert main(["models", "show", name]) == 1
        assert "is not of the form architecture.tag" in capsys.readouterr().err
