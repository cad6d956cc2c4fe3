"""The ``onebreath openrecon`` command: make a container's label for the scanner from the chain's properties.

A container has a label, JSON that names its needs and its user interface, and a PDF for the person who installs it.
"""

from __future__ import annotations

import argparse
import html
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onebreath import __version__
from onebreath.config.finding import available
from onebreath.config.interface import AS_CONFIGURED, CONFIG, CUSTOM_CONFIG, UNSET, Parameter, parameters
from onebreath.config.stream_config import External, StreamConfig, parse
from onebreath.errors import ConfigError
from onebreath.host.server import GADGETRON_PORT, is_own_chain
from onebreath.options import at_least
from onebreath.terminal import working
from onebreath.wire.outputs import PDF, check_folder, check_output

LABEL = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
"""Name of the label; its value is the JSON in base64."""
NAME = "Onebreath"
NOTICE = "For research only. Not a medical device: its images must not be used for diagnosis or treatment."
CONFIG_HELP = "Gadgetron configuration that reconstructs the scan; it also sets everything that is left as configured."
CUSTOM_HELP = "Name of another configuration of this container; goes before the one that is chosen. Empty: none."


def label(vendor: str, *, gpu: bool = False, memory_mb: int, gpu_memory_mb: int, cores: int) -> dict[str, Any]:
    """Make the content of the label.

    Parameters
    ----------
    vendor
        Who builds the container; it is part of the names of its files.
    gpu
        Whether the container can use one.
    memory_mb, gpu_memory_mb, cores
        What the host must have free, at least.
    """
    return {
        "general": {
            "name": {"en": NAME},
            "version": __version__,
            "vendor": vendor,
            "information": {"en": f"Deep-learning reconstruction of Cartesian cine and static scans. {NOTICE}"},
            "id": NAME.lower(),
            "regulatory_information": _regulatory(),
        },
        "reconstruction": {
            "transfer_protocol": {"protocol": "ISMRMRD", "version": "1.4.1"},
            "port": GADGETRON_PORT,
            "emitter": "raw",
            "injector": "image",
            "can_process_adjustment_data": False,
            "can_use_gpu": gpu,
            "min_count_required_gpus": 0,
            "min_required_gpu_memory": gpu_memory_mb if gpu else 0,
            "min_required_memory": memory_mb,
            "min_count_required_cpu_cores": cores,
            "content_qualification_type": "RESEARCH",
            "require_readout_filter_off": True,
            "channel_compression": {"require_state": "off"},
        },
        "parameters": [_config(), _custom_config(), *map(_entry, parameters().values())],
    }


def _regulatory() -> dict[str, str]:
    """Return the regulatory fields that the schema requires; empty where a research container has nothing to state."""
    empty = ("manufacturer_address", "made_in", "manufacture_date", "material_number", "gtin", "udi")
    return dict.fromkeys(empty, "") | {
        "device_trade_name": NAME,
        "production_identifier": __version__,
        "safety_advices": NOTICE,
        "special_operating_instructions": "",
        "additional_relevant_information": "",
    }


def _english(text: str) -> dict[str, str]:
    return {"en": text}


def _config() -> dict[str, Any]:
    values = [{"id": AS_CONFIGURED, "name": _english("by the protocol rules")}]
    values += [{"id": name, "name": _english(_spoken(name))} for name in configurations()]
    return {
        "id": CONFIG,
        "type": "choice",
        "label": _english("Configuration"),
        "information": _english(CONFIG_HELP),
        "values": values,
        "default": AS_CONFIGURED,
    }


def _custom_config() -> dict[str, Any]:
    names = {"label": _english("Other configuration"), "information": _english(CUSTOM_HELP)}
    return {"id": CUSTOM_CONFIG, "type": "string", **names, "default": ""}


def _entry(parameter: Parameter) -> dict[str, Any]:
    """Describe a parameter in the label."""
    entry: dict[str, Any] = {"id": parameter.id, "type": parameter.kind, "label": _english(parameter.label)}
    entry["information"] = _english(_help(parameter))
    if parameter.kind == "choice":
        values = {AS_CONFIGURED: "as configured", **{name: text for name, (text, _) in parameter.choices.items()}}
        entry["values"] = [{"id": name, "name": _english(text)} for name, text in values.items()]
        return {**entry, "default": AS_CONFIGURED}
    if parameter.kind == "string":
        return {**entry, "default": ""}
    entry["minimum"], entry["maximum"] = parameter.range
    entry["default"] = int(UNSET[parameter.kind])
    return {**entry, "unit": _english(parameter.unit)} if parameter.unit else entry


def _help(parameter: Parameter) -> str:
    """Help text of a parameter, with how it is left as configured."""
    text = parameter.help[0].upper() + parameter.help[1:].rstrip(".") + "."
    if parameter.kind == "choice":
        return text
    return f"{text} {'Empty' if parameter.kind == 'string' else UNSET[parameter.kind]}: as configured."


def _spoken(name: str) -> str:
    return name.removeprefix("Onebreath_").removesuffix(".xml").replace("_", " ")


def configurations() -> list[str]:
    """Names of the configurations that a container can run by itself and that reconstruct."""
    found = []
    for name, path in available():
        if not name.startswith("Onebreath_"):
            continue
        config = parse(path.read_bytes(), name)
        if _runs_here(config) and b'"reconstruct"' in path.read_bytes():
            found.append(name)
    return found


def _runs_here(config: StreamConfig) -> bool:
    external = [node for node in config.nodes if isinstance(node, External)]
    return len(external) == len(config.nodes) and is_own_chain(external)


def problems(made: dict[str, Any], schema: Path) -> list[str]:
    """Validate a label against a schema file; return the violations. Needs the package jsonschema."""
    try:
        import jsonschema
    except ImportError as error:
        raise ConfigError(
            "A label is checked by the package jsonschema: pip install 'onebreath[openrecon]'."
        ) from error
    try:
        rules = json.loads(schema.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{schema} is no JSON schema: {error}") from error
    checker = jsonschema.Draft7Validator(rules)
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in checker.iter_errors(made)]


def as_markdown() -> str:
    """Describe all choices in Markdown, for the container's documentation."""
    rows = ["## Parameters", "", "| name | shown as | values | what it is for |", "|---|---|---|---|"]
    for entry in [_config(), _custom_config(), *map(_entry, parameters().values())]:
        values = ", ".join(value["id"] for value in entry.get("values", ())) or entry["type"]
        if "minimum" in entry:
            values = f"{entry['minimum']} to {entry['maximum']}"
        cells = entry["id"], entry["label"]["en"], values, entry["information"]["en"]
        rows.append(f"| {' | '.join(html.escape(cell).replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def as_pdf(markdown_text: str, target: Path) -> None:
    """Write a text in Markdown as a PDF; needs the packages fpdf2 and markdown."""
    try:
        from fpdf import FPDF
        from markdown import markdown
    except ImportError as error:
        raise ConfigError(
            "The PDF is made by the packages fpdf2 and markdown: pip install 'onebreath[openrecon]'."
        ) from error
    document = FPDF()
    document.set_title(f"{NAME} {__version__}")
    document.add_page()
    document.set_font("Helvetica", size=9)
    document.write_html(markdown(markdown_text, extensions=["tables", "fenced_code"]), table_line_separators=True)
    document.output(str(target))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath openrecon``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="parameters|label|pdf")
    actions.add_parser("parameters", help="list what the user interface can choose, and what that sets")
    making = actions.add_parser("label", help="print the label's JSON")
    add_label_arguments(making)
    printing = actions.add_parser("pdf", help="write the container's documentation")
    printing.add_argument("output", type=Path, help="file")
    printing.add_argument("--text", type=Path, nargs="*", default=[], help="Markdown that goes before the parameters")


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that a label is made of."""
    parser.add_argument("--vendor", default=NAME, help="who builds the container (default: %(default)s)")
    parser.add_argument("--gpu", action="store_true", help="the container can use a GPU")
    parser.add_argument(
        "--memory-mb", type=at_least(1), default=8192, help="memory that it needs (default: %(default)s)"
    )
    parser.add_argument(
        "--gpu-memory-mb", type=at_least(0), default=4096, help="GPU memory that it needs, if it uses one"
    )
    parser.add_argument(
        "--cores", type=at_least(1), default=4, help="processor cores that it needs (default: %(default)s)"
    )
    parser.add_argument("--schema", type=Path, help="OpenRecon's JSON schema 1.1.0, to check the label against")


def label_of(args: argparse.Namespace) -> dict[str, Any]:
    """Make the label that the arguments ask for, and check it if there is a schema.

    Raises
    ------
    ConfigError
        If it does not fit the schema, or would not be as the scanner wants it.
    """
    made = label(
        args.vendor, gpu=args.gpu, memory_mb=args.memory_mb, gpu_memory_mb=args.gpu_memory_mb, cores=args.cores
    )
    if args.schema is not None and (found := problems(made, args.schema)):
        raise ConfigError(f"the label does not fit {args.schema}: {'; '.join(found)}")
    return made


def explain() -> Sequence[str]:
    """Return lines that list the choices and the properties that they set."""
    lines = [f"{CONFIG}, {CUSTOM_CONFIG}: name of a configuration; {CUSTOM_CONFIG} goes before {CONFIG}"]
    for parameter in parameters().values():
        lines.append(f"{parameter.id} ({parameter.label}): {parameter.gadget}, left by '{UNSET[parameter.kind]}'")
        lines += textwrap.wrap(parameter.help, 110, initial_indent="  ", subsequent_indent="  ")
        for value, (_, pairs) in parameter.choices.items():
            lines.append(f"    {value}: {', '.join(f'{name}={text}' for name, text in pairs.items())}")
        if parameter.kind != "choice":
            limits = f" {parameter.range[0]} to {parameter.range[1]}" if parameter.kind != "string" else ""
            lines.append(f"    {parameter.kind}{limits}: {parameter.key}")
    return lines


def run(args: argparse.Namespace) -> int:
    """Run ``onebreath openrecon``; see `add_arguments`."""
    if args.action == "parameters":
        print("\n".join(explain()))
    elif args.action == "label":
        print(json.dumps(label_of(args), indent=2))
    else:
        check_folder(args.output, "The PDF")
        check_output(args.output, PDF, args.text)
        texts = [text.read_text(encoding="utf-8") for text in args.text]
        with working(f"making {args.output}"):
            as_pdf("\n\n".join([*texts, as_markdown()]), args.output)
        print(args.output)
    return 0
