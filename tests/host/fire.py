"""FIRE's own client as a process: its program is run as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import ismrmrd
import numpy as np


def program(shared: Path) -> Path:
    """Where the client lies among what tests may use; its folder is not written to."""
    return shared / "peers" / "fire_client" / "client.py"


class Client:
    """What came of a run of the client: `out`, the file that it wrote, and `log`, all that it printed."""

    def __init__(
        self, client: Path, host: int, scan: Path, folder: Path, config: str, request=None, *flags: str, timeout=240.0
    ) -> None:
        folder.mkdir(exist_ok=True)
        shutil.copy(scan, folder / "scan.h5")  # the client opens it for writing
        if request is not None:
            with h5py.File(folder / "scan.h5", "a") as file:
                text = request if isinstance(request, str) else json.dumps(request)
                file["dataset"].create_dataset("configAdditional", (1,), h5py.string_dtype())[0] = text
        self.out = folder / "out.h5"
        command = [sys.executable, str(client), "scan.h5", "-a", "127.0.0.1", "-p", str(host), "-o", "out.h5"]
        command += ["-G", "run", f"--config={config}"]  # written "-c NAME" the client would take the JSON's config out
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*command, *flags],
            capture_output=True, text=True, cwd=folder, env=environment, timeout=timeout, check=False,
        )  # fmt: skip
        self.log = done.stdout + done.stderr
        assert done.returncode == 0, self.log
        assert "Traceback" not in self.log

    @property
    def images(self) -> dict[int, tuple[np.ndarray, list[ismrmrd.Meta]]]:
        return images_in(self.out, "run")


def images_in(path: Path, group: str) -> dict[int, tuple[np.ndarray, list[ismrmrd.Meta]]]:
    """Pixels and meta by series, in the order of slice and phase."""
    found = {}
    with h5py.File(path) as file:
        for name in file[group]:
            if name.startswith("image_"):
                stored = file[group][name]
                order = np.lexsort((stored["header"]["phase"], stored["header"]["slice"]))
                metas = [ismrmrd.Meta.deserialize(text) for text in stored["attributes"].asstr()[:]]
                found[int(name[6:])] = (stored["data"][:][order], [metas[place] for place in order])
    return found
