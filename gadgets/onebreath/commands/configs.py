"""The ``onebreath configs`` command: list, show and check configurations before a scan depends on them."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from onebreath.chain.chain import check_order
from onebreath.chain.gadget import Gadget, gadget_class, parse_properties
from onebreath.config.finding import available, find
from onebreath.config.node_options import read_options
from onebreath.config.properties import CHAIN_TARGET
from onebreath.config.serialisation import ACQUISITION, BY_NAME, IMAGE, WAVEFORM, element_for
from onebreath.config.stream_config import OWN_MODULE, Connect, Execute, External, Native, StreamConfig, parse
from onebreath.errors import ConfigError
from onebreath.methods.base import method_class
from onebreath.registry import GADGETS, METHODS
from onebreath.terminal import Cell, Column, print_table
from onebreath.wire.connection import parse_config

KINDS = ("python", "matlab", "julia")
MARKS = {True: "error", False: "note"}


@dataclass(frozen=True)
class Problem:
    """A problem that `check` found.

    Parameters
    ----------
    where
        The node.
    text
        What is wrong, or worth knowing.
    fatal
        The configuration cannot work; otherwise a note.
    """

    where: str
    text: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{MARKS[self.fatal]}: {self.where}: {self.text}"


def check(path: str | Path) -> list[Problem]:
    """Check a configuration file: grammar, gadgets, properties, their values, and the order of the gadgets.

    Nodes that only Gadgetron can run, and external nodes of others, are listed as notes.
    """
    try:
        config = parse(Path(path).read_bytes(), str(path))
    except ConfigError as error:
        return [Problem(str(path), str(error))]
    return check_config(config)


def check_config(config: StreamConfig) -> list[Problem]:
    """Check a parsed configuration; see `check`."""
    problems = _check_messages(config)
    neighbours: list[type[Gadget]] = []  # own gadgets since the last node that is not ours: their order can be checked
    for number, node in enumerate(config.nodes, 1):
        where = f"node {number}, {node}"
        if isinstance(node, Native):
            problems.append(Problem(where, "needs Gadgetron", fatal=False))
            for nested in node.inside:
                problems += _check_external(nested, f"{where}, {nested}", [])
            neighbours = []
            continue
        classes: list[type[Gadget]] = []
        problems += _check_external(node, where, classes)
        neighbours = neighbours + classes if classes else []
        problems += _check_order(neighbours, where)
    return problems


def _check_messages(config: StreamConfig) -> list[Problem]:
    """Check that lines and waveforms can be read, and images written, outside the nodes."""
    problems = []
    for kind, there, needed in (
        ("reader", config.takes, {ACQUISITION: "the first line", WAVEFORM: "the first waveform, as of an ECG"}),
        ("writer", config.gives, {IMAGE: ""}),
    ):
        for message, first in needed.items():
            if message not in there:
                loss = f"Gadgetron stops at {first} (map::at)" if first else "Gadgetron drops all images without a word"
                add = element_for(kind, message)
                problems.append(Problem(f"<{kind}s>", f"{loss}. Add {add}", fatal=not config.foreign))
    problems += [Problem("readers and writers", f"{name} is not known here", fatal=False) for name in config.foreign]
    return problems


def _check_external(node: External, where: str, classes: list[type[Gadget]]) -> list[Problem]:
    """Check an external node; the gadgets in it are added to `classes`."""
    try:
        target = own_target(node)
        steps = [] if target is None else read_options(parse_config(node.configuration), target).steps
    except ConfigError as error:
        return [Problem(where, str(error))]
    if isinstance(node.action, Execute) and node.action.kind not in KINDS:
        return [Problem(where, f'type="{node.action.kind}" is none that Gadgetron knows (map::at): {", ".join(KINDS)}')]
    if target is None:
        return [Problem(where, "is not Onebreath's; its properties are not checked", fatal=False)]
    problems = []
    for name, pairs in steps:
        try:
            cls = gadget_class(name)
            classes.append(cls)
            parse_properties(cls, pairs)
        except ConfigError as error:
            problems.append(Problem(where, str(error)))
    return problems + (_check_own_messages(node, where, classes) if classes else [])


def _check_own_messages(node: External, where: str, classes: Sequence[type[Gadget]]) -> list[Problem]:
    """Check the readers and writers that a node of ours names for itself."""
    problems = []
    if not {BY_NAME[name] for name in classes[0].consumes} & node.takes:
        wanted = " or ".join(classes[0].consumes)
        problems.append(Problem(where, f"its own <writers> have none for {wanted}, which goes past the node"))
    lost = [name for name in classes[-1].emits if BY_NAME[name] not in node.gives]
    if lost:
        problems.append(Problem(where, f"its own <readers> have none for {', '.join(lost)}, at which Gadgetron stops"))
    return problems


def own_target(node: External) -> str | None:
    """Name of our target that a node runs, or None if the node is not ours."""
    if isinstance(node.action, Connect):
        configuration = parse_config(node.configuration)
        first = None if configuration is None else configuration.find("gadget")
        return CHAIN_TARGET if first is not None and first.get("name") in GADGETS else None
    if node.action.module != OWN_MODULE:
        return None
    if node.action.target != CHAIN_TARGET and node.action.target not in GADGETS:
        known = ", ".join((CHAIN_TARGET, *GADGETS))
        raise ConfigError(f"there is no target '{node.action.target}'; there are: {known}")
    if node.action.kind != "python":
        raise ConfigError(f'type="{node.action.kind}" of <execute> must be type="python"')
    return node.action.target


def _check_order(classes: Sequence[type[Gadget]], where: str) -> list[Problem]:
    try:
        check_order(classes)
    except ConfigError as error:
        return [Problem(where, str(error))]
    return []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath configs``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|check|properties")
    actions.add_parser("list", help="list the configurations that can be chosen by name")
    show = actions.add_parser("show", help="print a configuration")
    show.add_argument("name", help="name of a configuration, or a file")
    checking = actions.add_parser("check", help="check configurations; exit status 1 if one cannot work")
    checking.add_argument("names", nargs="*", help="names or files (default: all that can be chosen by name)")
    properties = actions.add_parser("properties", help="explain the properties of a gadget or a method")
    properties.add_argument("names", nargs="*", help="gadgets or methods (default: all)")


def run(args: argparse.Namespace) -> int:
    """Run ``onebreath configs``; see `add_arguments`."""
    if args.action == "properties":
        for name in args.names or (*GADGETS, *METHODS):
            print("\n".join(explain(name)))
        return 0
    if args.action == "list":
        found = [(name, _summary(path)) for name, path in available()]
        plain = "\n".join(f"{name:40} {summary}" for name, summary in found)
        rows: list[tuple[Cell, Cell]] = [((name, "strong"), summary) for name, summary in found]
        print_table(plain, (Column("configuration"), Column("what it does")), rows)
        return 0
    if args.action == "show":
        print(_locate(args.name).read_text(encoding="utf-8"), end="")
        return 0
    return _report(args.names or [name for name, _ in available()])


def explain(name: str) -> list[str]:
    """List the properties of a gadget, or the parameters of a method, with their defaults and meaning."""
    model: type[BaseModel] = gadget_class(name).Properties if name in GADGETS else method_class(name).Parameters
    lines = [f"{name} ({'gadget' if name in GADGETS else 'method of reconstruct'})"]
    for field, info in model.model_fields.items():
        default = "required" if info.is_required() else f"default {info.get_default()!r}"
        lines += textwrap.wrap(
            f"{field} ({default}): {info.description}", 110, initial_indent="  ", subsequent_indent="      "
        )
    return lines


def _locate(name: str) -> Path:
    return Path(name) if Path(name).is_file() else find(name)


def _report(names: Iterable[str]) -> int:
    failed = False
    for name in names:
        problems = check(_locate(name))
        bad = any(problem.fatal for problem in problems)
        failed |= bad
        print(f"{name}: {'cannot work' if bad else 'good'}")
        for problem in problems:
            print(f"  {problem}")
    return int(failed)


def _summary(path: Path) -> str:
    """Beginning of the comment at the head of a configuration."""
    comment = re.search(r"<!--(.*?)-->", path.read_text(encoding="utf-8"), re.DOTALL)
    return textwrap.shorten(comment.group(1), 100, placeholder=" ...") if comment else ""
