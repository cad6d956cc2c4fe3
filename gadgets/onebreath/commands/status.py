"""The ``onebreath status`` command: state of resident workers, for people and for health checks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onebreath.host.handover import ask, worker_sockets
from onebreath.options import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath status``."""
    parser.add_argument(
        "--socket", type=Path, action="append", help="worker to ask (default: those of <execute> nodes)"
    )
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")
    parser.add_argument(
        "--health", action="store_true", help="print only what is wrong; exit status 0 if workers are well"
    )
    parser.add_argument("--timeout", type=positive, default=5.0, help="seconds to wait (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run ``onebreath status``; return 1 if no worker answers or, with ``--health``, one is unhealthy."""
    paths = args.socket or worker_sockets()
    missing = not paths
    for path in paths:
        try:
            status = ask(path, "status", args.timeout)
        except OSError as error:
            missing = True
            if not args.health:
                print(f"no worker answers at {path}: {error}", file=sys.stderr)
            continue
        missing = missing or (args.health and bool(status.get("troubles")))
        if args.health:
            print("".join(f"{line.strip()}\n" for line in _wrong(status)), end="", file=sys.stderr)
        else:
            print(json.dumps(status, indent=2) if args.json else "\n".join(describe(path, status)))
    return int(missing)


def describe(path: Path, status: dict[str, Any]) -> Iterator[str]:
    """Lines about a worker."""
    state = "stopping" if status["stopping"] else "ready"
    yield f"worker {status['pid']} at {path}: {state}, version {status['version']}, up {status['uptime_s']:.0f} s"
    yield (
        f"  memory {status['reserved_mb']} of {status['memory_mb']} MB, accelerator {status['accelerator_mb']} MB, "
        f"{status['slots']} slots, {status['threads']} threads, spool {status['spool']}"
    )
    yield from _wrong(status)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(status["counts"].items()))
    yield f"  scans so far: {counts or 'none'}; kept results: {len(status['results'])}"
    for export in status.get("exports", []):
        yield f"  {describe_export(export)}"
    for part in ("running", "waiting", "ended"):
        for scan in status[part][-10:]:
            yield (
                f"  {part:7} {scan['scan']} {scan['title']} ({scan['side']}, {scan['priority']}): {scan['outcome']}, "
                f"waited {scan['waited_s']:.2f} s, {scan['seconds']:.2f} s, {scan['images']} images"
            )


def _wrong(status: dict[str, Any]) -> Iterator[str]:
    for name in ("troubles", "warnings"):
        for text in status.get(name, []):
            yield f"  {name[:-1].upper()}: {text}"


def describe_export(export: dict[str, Any]) -> str:
    """Return a line about images on their way to a PACS."""
    parts = [f"{export['sent']} instances sent", f"{export['waiting']} wait"]
    for name, text in (
        ("scans", "scans to be made instances of"),
        ("refused", "instances refused"),
        ("failed", "scans without instances"),
        ("lost", "scans LOST"),
    ):
        parts += [f"{export[name]} {text}"] if export[name] else []
    return f"pacs {export['pacs']}: {', '.join(parts)}{export['problem'] and '; '}{export['problem']}"
