"""``onebreath models``: list, show, document, check, import and export models."""

from __future__ import annotations

import argparse
import io
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from onebreath.errors import ModelError
from onebreath.keeping import whole, write_text
from onebreath.terminal import Cell, Column, print_table, steps, working
from onebreath.zoo.architectures import build
from onebreath.zoo.card import CARD_FILE, LARGEST_CARD, Card, check_name, parse_card, read_card
from onebreath.zoo.document import document
from onebreath.zoo.importers import RELEASES, import_checkpoint
from onebreath.zoo.search import find, models, search_path
from onebreath.zoo.store import assemble, check_hash, decode, read_network, read_weights_file, save, write
from onebreath.zoo.trial import try_out
from onebreath.zoo.yaml_guard import read_yaml

_TEXTS = ("summary", "version", "licence", "intended_use")
_ARCHIVE = "zip"
_LARGEST_ARCHIVE = 4 * 2**30
"""Largest unpacked size of an archive in bytes."""


def add_actions(actions: Any) -> None:
    """Add the sub-commands that need models only."""
    making = actions.add_parser("new", help="make a model with untrained weights of a network, with a card and a test")
    making.add_argument("name", help="architecture.tag")
    making.add_argument("--to", type=Path, help="folder of models (default: the first of the search path)")
    making.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    making.add_argument("--test", type=Path, metavar="FILE", help="where to write a test of the model")
    making.add_argument(
        "--set", dest="arguments", action="append", default=[], metavar="ARGUMENT=VALUE", help="argument of the network"
    )
    listing = actions.add_parser("list", help="list the models, one line each")
    listing.add_argument("pattern", nargs="?", default="*", help="wildcard, for example '*cine*'")
    showing = actions.add_parser("show", help="print a model's folder and card")
    showing.add_argument("name", help="architecture.tag")
    documenting = actions.add_parser("card", help="write measured numbers and texts into a model's card, and print it")
    documenting.add_argument("name", help="architecture.tag")
    documenting.add_argument(
        "--measured", type=Path, nargs="+", default=[], metavar="TABLE", help="table.json of `onebreath evaluate`"
    )
    for field in _TEXTS:
        documenting.add_argument(f"--{field.replace('_', '-')}", help=Card.model_fields[field].description)
    checking = actions.add_parser("check", help="check cards, hashes and weights; exit status 1 if any is wrong")
    checking.add_argument("names", nargs="*", help="models; none: all")
    importing = actions.add_parser("import", help="make a model of a released checkpoint, or of an exported archive")
    importing.add_argument("file", type=Path, help="checkpoint, or archive of `onebreath models export`")
    importing.add_argument("--from", dest="kind", required=True, choices=[*RELEASES, _ARCHIVE], help="what the file is")
    importing.add_argument("--name", help="name of the new model, architecture.tag; an archive has its own")
    importing.add_argument("--to", type=Path, help="folder of models (default: the first of the search path)")
    importing.add_argument("--overwrite", action="store_true", help="replace a model of that name")
    importing.add_argument("--licence", help="licence of the weights")
    importing.add_argument(
        "--set",
        dest="arguments",
        action="append",
        default=[],
        metavar="ARGUMENT=VALUE",
        help="argument of the network that differs from the released code, for example dilations=[1,3,5]",
    )
    exporting = actions.add_parser("export", help="pack a model into one file")
    exporting.add_argument("name", help="architecture.tag")
    exporting.add_argument("file", type=Path, help="the archive to write")


def run(args: argparse.Namespace) -> int:
    """Run a sub-command; returns the exit status.

    Raises
    ------
    ModelError
        If a model or file is invalid.
    """
    actions = {
        "new": _new,
        "list": _list,
        "show": _show,
        "card": _card,
        "check": _check,
        "import": _import,
        "export": _export,
    }
    return actions[args.action](args)


def _new(args: argparse.Namespace) -> int:
    root = args.to or search_path()[0]
    arguments = dict(_argument(text) for text in args.arguments)
    folder = new_model(args.name, arguments, root, args.overwrite)
    print(f"{folder}\nIts weights are not trained. Complete {folder / CARD_FILE}: summary, domain, training, licence.")
    if args.test is not None:
        if args.test.exists():
            raise ModelError(f"{args.test} exists already; choose another file for the test")
        write_text(args.test, _TEST.format(name=args.name))
        print(args.test)
    return 0


def _list(args: argparse.Namespace) -> int:
    found = models(args.pattern)
    width = max((len(name) for name in found), default=0)
    rows: list[tuple[Cell, Cell, Cell]] = []
    plain = []
    for name, folder in found.items():
        try:
            card = read_card(folder)
            plain.append(f"{name:{width}}  {card.version:>6}  {card.summary}")
            rows.append(((name, "strong"), card.version, card.summary))
        except ModelError as error:
            plain.append(f"{name:{width}}  WRONG   {error}")
            rows.append(((name, "strong"), ("WRONG", "bad"), (str(error), "bad")))
    if found:
        columns = (Column("model"), Column("version", number=True), Column("summary"))
        print_table("\n".join(plain), columns, rows)
    else:
        print(f"no models called {args.pattern} in {', '.join(str(path) for path in search_path())}")
    return 0


def _show(args: argparse.Namespace) -> int:
    folder = find(args.name)
    print(f"# {folder}\n{read_card(folder).to_yaml()}", end="")
    return 0


def _card(args: argparse.Namespace) -> int:
    texts = {field: getattr(args, field) for field in _TEXTS if getattr(args, field) is not None}
    print(document(args.name, args.measured, texts).to_yaml(), end="")
    return 0


def _check(args: argparse.Namespace) -> int:
    folders = {name: find(name) for name in args.names} if args.names else models()
    wrong = 0
    for name, folder in steps(folders.items(), "checking", unit="models"):
        try:
            card = read_card(folder)
            network = read_network(folder, card)
            try_out(network, card)
            print(f"{name}: right, {sum(p.numel() for p in network.parameters()):,} parameters")
        except ModelError as error:
            wrong += 1
            print(f"{name}: WRONG: {error}")
    return 1 if wrong else 0


def _import(args: argparse.Namespace) -> int:
    root = args.to or search_path()[0]
    if args.kind == _ARCHIVE:
        given = {"--name": args.name, "--licence": args.licence, "--set": args.arguments}
        if useless := [option for option, value in given.items() if value]:
            raise ModelError(f"an exported archive is unpacked as it is; leave out {', '.join(useless)}")
        with working(f"unpacking {args.file}"):
            print(unpack(args.file, root, args.overwrite))
        return 0
    if args.name is None:
        raise ModelError("a checkpoint has no name of its own; give one with --name architecture.tag")
    arguments = dict(_argument(text) for text in args.arguments)
    extra = {"licence": args.licence} if args.licence else {}
    with working(f"importing {args.file}"):
        target = import_checkpoint(args.kind, args.file, args.name, root, arguments, args.overwrite, **extra)
    print(f"{target}\nComplete {target / CARD_FILE} with what you know: training data, domain, measured numbers.")
    return 0


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ModelError(f"--set {text}: expected ARGUMENT=VALUE")
    try:
        return name, read_yaml(value)
    except ValueError as error:
        raise ModelError(f"--set {text}: the value is not YAML: {error}") from error


def _export(args: argparse.Namespace) -> int:
    from onebreath.wire.outputs import MODEL, check_folder, check_output  # imports numpy: too slow for a list of models

    folder = find(args.name)
    card = read_card(folder)
    check_folder(args.file, "The archive")
    check_output(args.file, MODEL, (folder / CARD_FILE, folder / card.weights.file))
    with working(f"checking {args.name}"):
        read_network(folder, card)
    with whole(args.file) as part, zipfile.ZipFile(part, "w") as archive:
        archive.write(folder / CARD_FILE, CARD_FILE)
        archive.write(folder / card.weights.file, card.weights.file)
    print(args.file)
    return 0


def new_model(name: str, arguments: dict[str, Any], root: Path, overwrite: bool = False) -> Path:
    """Write a model with untrained weights, after a trial run; returns its folder.

    Raises
    ------
    ModelError
        If there is no such network, its arguments are wrong, its trial run fails, or the model exists and
        `overwrite` is False.
    """
    import torch

    architecture = check_name(name).partition(".")[0]
    torch.manual_seed(1)
    network = build(architecture, arguments)
    details = {
        "name": name,
        "version": "0",
        "summary": "weights that are not trained",
        "architecture": architecture,
        "arguments": arguments,
        "training": {"data": "none"},
        "licence": "not stated",
        "intended_use": "none: the weights are not trained",
    }
    with tempfile.TemporaryDirectory() as folder:
        trial = save(network.state_dict(), details, Path(folder))
        card = read_card(trial)
        try_out(read_network(trial, card), card)
        return write(card, read_weights_file(trial, card), root, overwrite)


_TEST = '''"""The model {name}: card, hash and weights fit together, and its network runs."""

from onebreath.zoo.card import read_card
from onebreath.zoo.search import find
from onebreath.zoo.store import read_network
from onebreath.zoo.trial import try_out


def test_it_runs_on_a_small_series():
    folder = find("{name}")
    card = read_card(folder)
    try_out(read_network(folder, card), card)
'''


def unpack(file: Path, root: Path, overwrite: bool = False) -> Path:
    """Write the model of an exported archive after all checks of loading; returns its folder.

    Raises
    ------
    ModelError
        If the archive holds anything but a card and its weights, these are invalid, or the model exists and
        `overwrite` is False.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
            members = {member.filename: member.file_size for member in archive.infolist()}
            if CARD_FILE not in members or len(archive.infolist()) != len(members):
                raise ModelError(f"{file} is no exported model: it holds {', '.join(archive.namelist()) or 'nothing'}")
            if sum(members.values()) > _LARGEST_ARCHIVE or members[CARD_FILE] > LARGEST_CARD:
                raise ModelError(
                    f"{file} would unpack to {sum(members.values())} bytes, its card to {members[CARD_FILE]}"
                )
            card = parse_card(read_yaml(archive.read(CARD_FILE)), f"{CARD_FILE} in {file}")
            if set(members) != {CARD_FILE, card.weights.file}:
                raise ModelError(f"{file} holds {', '.join(members)}; expected {CARD_FILE} and {card.weights.file}")
            weights = archive.read(card.weights.file)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
        raise ModelError(f"{file} is no exported model: {error}") from error  # RuntimeError: it needs a password
    check_hash(weights, card, str(file))
    assemble(card.architecture, card.arguments, decode(weights, str(file)), card.name)
    return write(card, weights, root, overwrite)
