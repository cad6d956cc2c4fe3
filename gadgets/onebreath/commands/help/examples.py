"""Examples at the end of each command's help."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "replay": (
        ("scan.h5 -o images.h5", "by the configuration that suits the scan"),
        ("scans/ -c Onebreath_Cine.xml -o images/ --report", "a folder, with a page for each scan"),
        ("scan.h5 -a localhost -p 9002 --set sort.phases=20", "by a server, with another property"),
        ("- -c my.xml -o - < lines.bin > images.bin", "streams of MRD 2, by pipes"),
    ),
    "serve": (
        ("", "clients connect to port 9012 of this machine"),
        ("--gadget-port 18000", "<connect> nodes of Gadgetron too"),
    ),
    "tunnel": (
        (
            "--listen 9012 --to recon.example:9012 --ca ca.pem --token-file token",
            "a worker elsewhere",
        ),
    ),
    "status": (("", "what the worker of this machine does"), ("--json", "for programs")),
    "configs": (
        ("list", "what can be chosen by name"),
        ("check my.xml", "before a scan depends on it"),
        ("properties reconstruct", "what can be set"),
    ),
    "inspect": (("scan.h5", "what it holds, and what the chain will do"), ("scan.h5 -c my.xml", "by this chain")),
    "install": (("--gadgetron-home /usr/local", "links into this Gadgetron"),),
    "openrecon": (("parameters", "what the scanner's user can choose"),),
    "selftest": (
        ("", "everything in this process"),
        ("Onebreath_Cine.xml --address localhost --port 9002", "one configuration on a server"),
    ),
    "simulate": (
        ("scan.h5 --slices 3 --acceleration 4", "a chest with a beating heart"),
        ("phantom.h5 --anatomy phantom --mode static --acceleration 1 --acs-mode none", "for onebreath accept"),
    ),
    "demo": (("", "pictures, a table and a page in demo/"),),
    "compare": (
        ("scan.h5", "the candidates of the protocol rule"),
        ("scan.h5 --candidates grappa cg_sense crunet_mr.cine --output grappa.png", "these three"),
    ),
    "evaluate": (
        ("--data sunnybrook --methods grappa cg_sense models", "everything on a data set"),
        ("--settings models/evaluation/cine.yaml", "as published"),
    ),
    "images": (
        ("compare unet.static mr_ipt.static --recipe models/recipes/mr_ipt.small.yaml", "at all masks and ratios"),
    ),
    "train": (
        ("models/recipes/crunet_mr.robust.yaml --export crunet_mr.mine", "train, and make a model of it"),
        ("models/recipes/crunet_mr.robust.yaml --minutes 60", "as far as an hour goes"),
    ),
    "finetune": (("models/recipes/crunet_mr.robust.yaml --start crunet_mr.cine --steps 200", "train on"),),
    "report": (("images.h5 scan.h5", "with header, lines and sampling of the raw data"),),
    "import": (("meas_MID00358.dat -o scan.h5 --anonymise", "Siemens raw data"),),
    "cohort": (
        ("scans/ -c Onebreath_Cine.xml -o out -j 2", "all scans of a folder; called again it goes on"),
        ("out.old out.new --compare -o compared", "old against new weights"),
    ),
    "accept": (
        ("phantom.h5 -o acceptance", "with the limits of this project"),
        ("phantom.h5 -o acceptance --limits site.yaml --pdf", "with those of the site, and a PDF"),
    ),
    "convert": (("images.h5 -o pictures --format png,gif", "stills and loops"),),
    "dicom": (
        ("images.h5 -o dicom", "into a folder"),
        ("images.h5 --send localhost:4242", "to a PACS"),
    ),
    "provenance": (("images.h5", "which software, model and decisions"),),
    "reproduce": (("images.h5 --raw scan.h5", "the same bits again?"),),
    "models": (
        ("list", "what there is"),
        ("check", "cards, hashes, weights"),
        ("match scan.h5", "which rule fires for a scan, and why not the others"),
    ),
    "completion": (
        ("bash > ~/.local/share/bash-completion/completions/onebreath", "from the next shell on"),
        ("zsh", "source <(onebreath completion zsh)"),
        ("fish > ~/.config/fish/completions/onebreath.fish", "from the next shell on"),
    ),
}
"""Arguments and meaning of a few calls of each command."""


def epilog(command: str) -> str:
    """Return the examples of a command as the end of its help."""
    calls = [(f"onebreath {command} {arguments}".rstrip(), meaning) for arguments, meaning in EXAMPLES[command]]
    return "examples:\n" + "\n".join(f"  {call}\n      {meaning}" for call, meaning in calls)
