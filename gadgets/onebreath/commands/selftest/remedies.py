"""Advice for each kind of failure that ``onebreath selftest`` finds."""

from __future__ import annotations

import re

NO_WORKER = "start a worker where this configuration looks for it: onebreath serve --gadget-port 18000"
REMEDIES = (
    (
        r"geometry|differ from the truth|of shape|brightness|numbers that are none",
        "do not use this configuration; restart the server if it runs other code than this command, else report it",
    ),
    (r"no server at", "start the server, or name its --address and --port (Gadgetron: 9002; onebreath serve: 9012)"),
    (
        r"There is no configuration|Error reading from file/stream",
        "onebreath install --gadgetron-home DIR, where DIR holds the server's share/gadgetron",
    ),
    (r"Failed to connect to service|cannot be reached|Connection refused", NO_WORKER),
    (
        r"map::at|illegal message id|no word of why|End of file|went away",
        "the node did not start, or is another version: the first `python` on the server's PATH must be one in which "
        "`python -c 'import onebreath.host.entry'` works; the server's log has the reason. Then: onebreath install",
    ),
    (
        r"[Nn]oise.*storage|storage server",
        "give the server a storage server (gadgetron -E URL), or set ONEBREATH_STORAGE to a folder for its nodes",
    ),
    (
        r"[Nn]o model|model.*(not|no) |sha256|weights",
        "onebreath models list shows what is there; onebreath models check NAME; install the models again, or set "
        "ONEBREATH_MODELS for the server",
    ),
    (r"outside the domain|stood in", "onebreath models card NAME tells what the model is for; see docs/protocols.md"),
    (r"CUDA|out of memory", "free the GPU, or set device=cpu for the method; nvidia-smi shows who uses it"),
    (r"did not end within", "a longer --patience; onebreath status shows what a worker is busy with"),
    (
        r"no gadget|no property|does not fit",
        "an older configuration is installed: onebreath install, then configs check",
    ),
)
GENERAL = "the server's log tells more; onebreath configs check shows what is wrong with a configuration"


def remedy_for(text: str) -> str:
    """Return what to do about a failure that is described so."""
    return next((remedy for pattern, remedy in REMEDIES if re.search(pattern, text)), GENERAL)
