"""Short tables of an evaluation to be stored: what differs from the reference, with n and p.

    python -m onebreath.evaluation.verdict runs/evaluation/ablation --title "Ablation" > benchmarks/results/ablation.md

Of each group of scans the table has a row per method: PSNR and SSIM in the whole image, PSNR where the heart moves, and
whether PSNR and SSIM differ from the reference's by a Wilcoxon signed-rank test over slices, corrected by Bonferroni
for the number of methods. Where one does not, the table says that no difference was seen, not that there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onebreath.errors import ConfigError, OnebreathError
from onebreath.evaluation.statistics import Comparison, mean_and_spread
from onebreath.evaluation.summary import SIGNIFICANT, markdown_table

_HEAD = ("method", "PSNR (dB)", "SSIM", "dynamic PSNR (dB)", "PSNR against reference", "SSIM against reference")
_TESTED = (("psnr", ".2f", " dB"), ("ssim", ".4f", ""))
_CELLS = (("overall", "psnr", 2), ("overall", "ssim", 3), ("dynamic", "psnr", 2))


def read_table(folder: Path) -> dict[str, Any]:
    """Content of the table.json of an evaluation.

    Raises
    ------
    ConfigError
        If there is no such file or it is not of an evaluation.
    """
    file = folder / "table.json" if folder.is_dir() else folder
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} is no table of `onebreath evaluate`: {error}") from error
    if not isinstance(content, dict) or "groups" not in content:
        raise ConfigError(f"{file} is no table of `onebreath evaluate`: it has no groups")
    return content


def tables(content: Mapping[str, Any], title: str, notes: Sequence[str] = ()) -> str:
    """Markdown of a title, notes, and a table per group, strict convention."""
    parts = [title, *notes]
    for group in content["groups"]:
        if group["convention"] == "strict":
            parts += [_about(group), _table(group)]
    return "\n\n".join(parts) + "\n"


def _about(group: Mapping[str, Any]) -> str:
    others = max(len(group["methods"]) - 1, 0)
    return (
        f"**{group['group']}**; {group['slices']} slices of {group['patients']} patient"
        f"{'s' if group['patients'] != 1 else ''}; reference {group['reference']}, {others} compared with it:"
    )


def _table(group: Mapping[str, Any]) -> str:
    rows = []
    tests = group["tests"].get("overall", {})
    for label, method in group["methods"].items():
        cells = [_value(method["values"].get(region, {}).get(measure), digits) for region, measure, digits in _CELLS]
        for measure, digits, unit in _TESTED:
            found = tests.get(measure, {}).get(label)
            if found:
                cells.append(in_words(Comparison(**found["per_slice"]), digits, unit))
            else:
                cells.append("reference" if label == group["reference"] else "not tested")
        rows.append((label, *cells))
    return markdown_table(_HEAD, rows)


def _value(value: Mapping[str, float] | None, digits: int) -> str:
    return "" if value is None else mean_and_spread(value["mean"], value["std"], int(value["n"]), digits)


def in_words(test: Comparison, digits: str, unit: str) -> str:
    """Difference with n and corrected p, and what it says of a measure that is better when higher."""
    seen = "no difference seen"
    if test.p_bonferroni < SIGNIFICANT:
        seen = "better" if test.difference < 0 else "worse"
    return f"{seen}: {0.0 - test.difference:+{digits}}{unit}, n = {test.n}, p = {test.p_bonferroni:.2g}"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; returns 0, or 1 after printing an error."""
    parser = argparse.ArgumentParser(prog="python -m onebreath.evaluation.verdict", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of results of `onebreath evaluate`, or its table.json")
    parser.add_argument("--title", required=True, help="first line of the text")
    parser.add_argument("--note", action="append", default=[], help="paragraph after the title; may be repeated")
    args = parser.parse_args(arguments)
    try:
        print(tables(read_table(args.folder), args.title, args.note), end="")
    except OnebreathError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
