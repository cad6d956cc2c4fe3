"""A real PACS for tests: Orthanc, on free ports of this computer."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

PROGRAM = next((found for name in ("Orthanc", "orthanc", "/usr/sbin/Orthanc") if (found := shutil.which(name))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    def __init__(self, folder: Path) -> None:
        if PROGRAM is None:
            pytest.skip("no PACS: Orthanc is not installed")
        self.folder, self.port, self.http = folder, free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = folder / "orthanc.json"
        self.settings.write_text(
            json.dumps(
                {
                    "StorageDirectory": str(folder / "stored"),
                    "IndexDirectory": str(folder / "stored"),
                    "DicomPort": self.port,
                    "DicomAet": "ORTHANC",
                    "DicomAlwaysAllowFind": True,
                    "HttpPort": self.http,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "Plugins": [],
                }
            )
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen([str(PROGRAM), str(self.settings)], stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                self.get("/system")
                return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, (self.folder / "orthanc.log").read_text()
                time.sleep(0.1)
        raise AssertionError("Orthanc does not answer")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def get(self, path: str) -> Any:
        return json.loads(self.bytes_of(path))

    def bytes_of(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def stored(self) -> list[str]:
        """SOP instance UIDs, sorted; one that was stored twice is there twice."""
        return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in self.get("/instances?expand"))
