"""``onebreath simulate``: write a simulated scan; one option for every field of `ScanOptions`."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from onebreath.errors import ConfigError
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.scan import TRUTH, simulate
from onebreath.wire.outputs import check_folder, check_new


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the output file and the options of the scan."""
    parser.add_argument("output", type=Path, metavar="OUT.h5", help="raw data file; the truth gets the same name, .npz")
    for field in fields(ScanOptions):
        parser.add_argument(f"--{field.name.replace('_', '-')}", dest=field.name, default=field.default, **_spec(field))


def run(args: argparse.Namespace) -> int:
    """Simulate and write; returns the exit status.

    Raises
    ------
    ConfigError
        If the options contradict each other, or one of the two files exists already.
    """
    if args.output.suffix == TRUTH:
        raise ConfigError(f"{args.output} would be the name of the truth, too; let the raw data's name end with .h5.")
    check_folder(args.output, "The scan")
    for path in (args.output, args.output.with_suffix(TRUTH)):
        check_new(path)
    values: dict[str, Any] = {field.name: getattr(args, field.name) for field in fields(ScanOptions)}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    if isinstance(values["acceleration"], tuple):
        values["acceleration"], values["partition_acceleration"] = values["acceleration"]
    options = ScanOptions(**values)
    scan = simulate(options)
    truth = scan.write(args.output)
    print(
        f"{args.output}: {len(scan.acquisitions)} acquisitions, {len(scan.waveforms)} waveforms, "
        f"{options.slices} slices, {options.phases} phases, {options.coils} channels; truth in {truth}"
    )
    return 0


def _spec(field: Field[Any]) -> dict[str, Any]:
    """Keyword arguments of `add_argument` for a field, from its default value and metadata."""
    assert field.default is not MISSING
    choices = field.metadata["choices"] or None
    text = f"{field.metadata['help']} (default {_shown(field.default)})".replace("%", "%%")
    if isinstance(field.default, bool):
        return {"action": argparse.BooleanOptionalAction, "help": text}
    if isinstance(field.default, tuple):
        count, kind = (len(field.default), type(field.default[0])) if field.default else ("*", str)
        return {"nargs": count, "type": kind, "choices": choices, "metavar": field.metadata["metavar"], "help": text}
    read = _acceleration if field.name == "acceleration" else type(field.default)
    return {"type": read, "choices": choices, "help": text}


def _acceleration(text: str) -> int | tuple[int, int]:
    """Parse ``2``, or ``2x3`` for lines and partitions."""
    along, _, apart = text.lower().partition("x")
    return (int(along), int(apart)) if apart else int(along)


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value)
