"""Claims of the papers and our measurements: ``python -m onebreath.evaluation.papers`` writes docs/papers.md.

Claims, published numbers and commands are in ``docs/papers.yaml``. Our numbers are never typed by hand: they are looked
up in model cards and in tables of benchmarks and documentation, or are parameters counted in a network.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from onebreath.errors import ConfigError, OnebreathError
from onebreath.keeping import write_text
from onebreath.validation import as_text
from onebreath.zoo.architectures import hollow
from onebreath.zoo.card import read_card
from onebreath.zoo.yaml_guard import read_yaml

CLAIMS = Path("docs/papers.yaml")
PAGE = Path("docs/papers.md")
_HEAD = """# What the papers claim, and what was measured here

Made by `python -m onebreath.evaluation.papers` from `docs/papers.yaml`; numbers of ours come from model
cards, benchmark tables and counted networks, none is typed. The published networks were trained on data that are
not public or not here, for GPU-days; those here are smaller, trained for minutes to hours on two CPU cores, and
measured on other scans with simulated coils and noise. So a row shows what was repeated and how to repeat it, not
who is better.
"""
_COLUMNS = ("claim", "published", "ours", "command", "data")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OfCard(_Part):
    """A measurement in a model's card."""

    kind: Literal["card"]
    model: str = Field(description="architecture.tag")
    data: str = Field(description="part of the description of its data")
    metric: str = Field(description="the metric, in full")


class OfTable(_Part):
    """A cell of a Markdown table."""

    kind: Literal["table"]
    file: Path = Field(description="the file, from the root of the repository")
    after: str = Field("", description="text before the table")
    row: str = Field(description="first cell of the row, or several first cells with | between them")
    column: str = Field(description="head of the column")
    unit: str = Field("", description="unit to print after the number")
    label: str = Field("", description="name of the number; the row, if empty")


class Parameters(_Part):
    """Number of learned parameters of a network."""

    kind: Literal["parameters"]
    architecture: str = Field(description="see `onebreath.zoo.architectures`")
    arguments: dict[str, Any] = Field({}, description="arguments other than its defaults")
    label: str = Field("", description="name of the number")


Measured = OfCard | OfTable | Parameters


class Claim(_Part):
    """A row of a paper's table."""

    claim: str = Field(description="claim of the paper")
    published: str = Field(description="its number, as printed; or that it is not known here")
    ours: tuple[Measured, ...] = Field((), description="sources of our numbers; none: not measured")
    command: str = Field("", description="command that reproduces our numbers")
    data: str = Field("", description="data of our numbers")
    why: str = Field("", description="why it cannot be repeated here, or what differs")

    @model_validator(mode="after")
    def _says_why_not(self) -> Claim:
        if not self.ours and not self.why:
            raise ValueError(f"'{self.claim}' has no number of ours and does not say why")
        return self


class Paper(_Part):
    """A paper and its claims."""

    title: str = Field(description="short name")
    reference: str = Field(description="authors, title, place")
    claims: tuple[Claim, ...] = Field(min_length=1)


class Papers(_Part):
    """Content of the file of claims."""

    papers: tuple[Paper, ...] = Field(min_length=1)


def read_claims(path: Path) -> Papers:
    """Claims of a file.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a field is unknown, missing or of the wrong type.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
        return Papers.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"claims {path}: {as_text(error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"claims {path} cannot be read: {error}") from error


def page(papers: Papers, root: Path) -> str:
    """The page in Markdown, with numbers from the repository at `root`; errors as in `number`."""
    parts = [_HEAD]
    for paper in papers.papers:
        rows = [_row(claim, root) for claim in paper.claims]
        head = [f"| {' | '.join(_COLUMNS)} |", "|" + "---|" * len(_COLUMNS)]
        parts.append("\n".join([f"## {paper.title}", "", paper.reference, "", *head, *rows]) + "\n")
        reasons = [f"- {claim.claim}: {claim.why}" for claim in paper.claims if claim.why]
        if reasons:
            parts.append("\n".join(["**What differs, or cannot be repeated here.**", "", *reasons]) + "\n")
    return "\n".join(parts)


def _row(claim: Claim, root: Path) -> str:
    ours = "; ".join(number(one, root) for one in claim.ours) or "not measured"
    command = f"`{claim.command}`" if claim.command else ""
    return f"| {' | '.join((claim.claim, claim.published, ours, command, claim.data))} |"


def number(measured: Measured, root: Path) -> str:
    """One of our numbers, as text.

    Raises
    ------
    ConfigError
        If it is missing or ambiguous in its source.
    ModelError
        If a card or network is invalid.
    """
    if isinstance(measured, Parameters):
        network = hollow(measured.architecture, measured.arguments)
        count = f"{sum(weight.numel() for weight in network.parameters()):,}"
        return f"{measured.label}: {count}" if measured.label else count
    return _of_card(measured, root) if isinstance(measured, OfCard) else _of_table(measured, root)


def _of_card(measured: OfCard, root: Path) -> str:
    card = read_card(root / "models" / measured.model)
    found = [one for one in card.measured if measured.data in one.data and one.metric == measured.metric]
    if len(found) != 1:
        raise ConfigError(
            f"the card of {measured.model} holds {len(found)} measurements of '{measured.metric}' on "
            f"'{measured.data}', expected one"
        )
    spread = "" if found[0].std is None else f" ± {found[0].std:.3g}"
    count = "" if found[0].n is None else f" (n = {found[0].n})"
    return f"{measured.model}: {found[0].mean:.4g}{spread}{count}"


def _of_table(measured: OfTable, root: Path) -> str:
    file = root / measured.file
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    text = file.read_text(encoding="utf-8")
    if measured.after not in text:
        raise ConfigError(f"{file} does not hold the text '{measured.after}'")
    wanted = [cell.strip() for cell in measured.row.split("|")]
    for head, rows in _tables(text[text.index(measured.after) :]):
        if measured.column not in head:
            continue
        found = [row for row in rows if row[: len(wanted)] == wanted]
        if found:
            cell = found[0][head.index(measured.column)]
            return f"{measured.label or measured.row}: {cell}{measured.unit and ' ' + measured.unit}"
    raise ConfigError(f"no table of {file} has a row '{measured.row}' and a column '{measured.column}'")


def _tables(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """Heads and rows of the Markdown tables of a text, without emphasis."""
    found: list[tuple[list[str], list[list[str]]]] = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        lines = [[cell.strip().replace("*", "") for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found.append((lines[0], lines[2:]))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Write the page; returns 0, or 1 after printing an error."""
    parser = argparse.ArgumentParser(prog="python -m onebreath.evaluation.papers", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the repository (default: this folder)")
    parser.add_argument("--claims", type=Path, help=f"default: {CLAIMS} in the repository")
    parser.add_argument("--output", type=Path, help=f"default: {PAGE} in the repository")
    args = parser.parse_args(arguments)
    output = args.output or args.root / PAGE
    try:
        write_text(output, page(read_claims(args.claims or args.root / CLAIMS), args.root))
    except OnebreathError as error:
        print(error, file=sys.stderr)
        return 1
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
