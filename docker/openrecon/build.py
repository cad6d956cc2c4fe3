r"""Build an OpenRecon container: the image with its label, saved and zipped beside its documentation.

Run it in the root of a checkout, with Onebreath installed (``pip install '.[openrecon]'``)::

    python docker/openrecon/build.py --schema OpenReconSchema_1.1.0.json                        # CPU
    python docker/openrecon/build.py --schema OpenReconSchema_1.1.0.json --gpu \
        --base-image nvidia/cuda:11.8.0-runtime-ubuntu22.04 --torch-version 2.7.1 \
        --torch-index https://download.pytorch.org/whl/cu118
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from onebreath.commands.openrecon import add_label_arguments, as_markdown, as_pdf, label_of
from onebreath.diagnostics.software import commit
from onebreath.errors import ConfigError, OnebreathError

ROOT = Path(__file__).parents[2]
_IMAGE = re.compile(r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*:[a-z0-9_][a-z0-9_.-]{0,127}")
"""What engines take as name and tag of an image."""


def base_name(label: dict[str, Any]) -> str:
    """Name of the files, as OpenRecon's host expects it."""
    general = label["general"]
    return f"OpenRecon_{general['vendor']}_{general['name']['en']}_V{general['version']}"


def image_name(label: dict[str, Any]) -> str:
    """Name and tag of the image; ConfigError if no image can be called so."""
    general = label["general"]
    found = f"OpenRecon_{general['vendor']}_{general['name']['en']}:V{general['version']}".lower()
    if not _IMAGE.fullmatch(found):
        raise ConfigError(
            f"vendor, name and version make {found!r}, which is no image's name: they may hold unaccented letters, "
            "digits, and single '.', '-' and '_' between them"
        )
    return found


def build_command(label: dict[str, Any], args: argparse.Namespace) -> list[str]:
    """Command that builds the image."""
    encoded = base64.b64encode(json.dumps(label).encode("utf-8")).decode("ascii")
    given = {
        "BASE_IMAGE": args.base_image,
        "TORCH_INDEX": args.torch_index,
        "TORCH_VERSION": args.torch_version,
        "ONEBREATH_COMMIT": commit(),
        "OPENRECON_LABEL": encoded,
    }
    pairs = [part for name, text in given.items() if text for part in ("--build-arg", f"{name}={text}")]
    where = ["-t", image_name(label), "-f", "docker/openrecon/Dockerfile", *pairs, "."]
    return [args.engine, "build", "--platform", "linux/amd64", *where]


def main() -> int:
    """Build everything; the zip is what a scanner loads."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_label_arguments(parser)
    parser.add_argument("--output", type=Path, default=Path(), help="folder for the files (default: this one)")
    parser.add_argument("--engine", default="docker", help="docker or podman (default: %(default)s)")
    parser.add_argument("--base-image", help="image to build on; see the Dockerfile")
    parser.add_argument("--torch-index", help="where pip finds the wheel of torch")
    parser.add_argument("--torch-version", help="version of torch")
    args = parser.parse_args()
    try:
        label = label_of(args)
        building = build_command(label, args)
        target = args.output.resolve() / base_name(label)
        text = (ROOT / "docs" / "openrecon.md").read_text(encoding="utf-8")
        as_pdf(f"{text}\n\n{as_markdown()}", target.with_name(f"{target.name}.pdf"))
        archive = target.with_name(f"{target.name}.tar")
        subprocess.run(building, check=True, cwd=ROOT)
        subprocess.run([args.engine, "save", "-o", str(archive), image_name(label)], check=True)
    except (OnebreathError, OSError, subprocess.CalledProcessError) as error:
        print(f"the container is not built: {error}", file=sys.stderr)
        return 1
    with zipfile.ZipFile(target.with_name(f"{target.name}.zip"), "w", zipfile.ZIP_DEFLATED) as package:
        for suffix in (".tar", ".pdf"):
            package.write(target.with_name(target.name + suffix), target.name + suffix)
    print(target.with_name(f"{target.name}.zip"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
