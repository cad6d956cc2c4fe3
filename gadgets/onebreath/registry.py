"""The one list of gadgets, methods and networks, by the names that configurations and cards use.

An installed package adds its own by entry points, each ``name = "module:Class"``, of the groups ``onebreath.gadgets``,
``onebreath.methods``, ``onebreath.networks`` (multi-coil series) and ``onebreath.restoration`` (magnitude images).
Modules are imported only when something in them is asked for, and nothing heavy is imported here: the process that
Gadgetron starts for a node reads this file.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from onebreath.errors import ConfigError
from onebreath.names import did_you_mean, shortened

log = logging.getLogger("onebreath.registry")


class Registry(Mapping[str, str]):
    """Names of one kind of thing, each with its ``module:attribute``; those of installed packages come last.

    Parameters
    ----------
    kind
        What is listed, as error messages call it.
    group
        Group of the entry points by which packages add to the list.
    own
        What this package has.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, str]) -> None:
        self.kind, self.group, self.own = kind, group, dict(own)

    @cached_property
    def _installed(self) -> dict[str, str]:
        from importlib.metadata import entry_points  # reads every installed package's list: only when it is needed

        found: dict[str, str] = {}
        for point in entry_points(group=self.group):
            if point.name in self.own or found.get(point.name, point.value) != point.value:
                log.error("the %s '%s' exists already; %s is not used", self.kind, point.name, point.value)
            else:
                found[point.name] = point.value
        return found

    def __getitem__(self, name: str) -> str:
        return self.own[name] if name in self.own else self._installed[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self._installed

    def __len__(self) -> int:
        return len(self.own) + len(self._installed)

    def load(self, name: str) -> Any:
        """Import what has this name.

        Raises
        ------
        ConfigError
            If nothing has it (the text lists the nearest names), or if a package's module cannot be imported.
        """
        if name not in self:
            raise ConfigError(f"There is no {self.kind} called '{shortened(name)}'. {did_you_mean(name, self)}")
        module, attribute = self[name].split(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            if name in self.own:
                raise
            raise ConfigError(
                f"The {self.kind} '{name}' of an installed package cannot be imported from {self[name]}: {error}"
            ) from error


GADGETS = Registry(
    "gadget",
    "onebreath.gadgets",
    {
        "prewhiten": "onebreath.gadgets.prewhiten:Prewhiten",
        "compress": "onebreath.gadgets.compress:Compress",
        "sort": "onebreath.gadgets.sort.sort:Sort",
        "calibrate": "onebreath.gadgets.calibrate:Calibrate",
        "reconstruct": "onebreath.gadgets.reconstruct.reconstruct:Reconstruct",
        "export": "onebreath.gadgets.export:Export",
        "retrieve": "onebreath.gadgets.retrieve:Retrieve",
    },
)
"""Gadgets in the order in which data usually pass them; each is also a target of ``<execute>``."""

METHODS = Registry(
    "reconstruction method",
    "onebreath.methods",
    {
        "zero_filled": "onebreath.methods.zero_filled:ZeroFilled",
        "cg_sense": "onebreath.methods.cg_sense:CgSense",
        "grappa": "onebreath.methods.grappa.grappa:Grappa",
        "low_rank_sparse": "onebreath.methods.low_rank_sparse.low_rank_sparse:LowRankSparse",
        "mr_ipt": "onebreath.methods.learned.mr_ipt:MrIpt",
        "raki": "onebreath.methods.raki.raki:Raki",
        "iraki": "onebreath.methods.raki.named_iraki:Iraki",
        "unrolled": "onebreath.methods.learned.unrolled:Unrolled",
    },
)

ARCHITECTURES = Registry(
    "architecture",
    "onebreath.networks",
    {
        "crunet_mr": "onebreath.networks.crunet_mr.crunet_mr:CRUNetMR",
        "crnn_mri": "onebreath.networks.crnn_mri.crnn_mri:CRNNMRI",
        "cinenet": "onebreath.networks.cinenet.cinenet:CineNet",
        "a_liknet": "onebreath.networks.a_liknet:ALIKNet",
        "prompt_mr": "onebreath.networks.prompt_mr.prompt_mr:PromptMR",
        "prompt_mr_plus": "onebreath.networks.prompt_mr.plus:PromptMRPlus",
        "unet3d_mr": "onebreath.networks.crunet_mr.unet3d_mr:UNet3DMR",
    },
)
"""Networks for multi-coil series, by the name that a card uses."""

RESTORATION = Registry(
    "architecture",
    "onebreath.restoration",
    {
        "mr_ipt": "onebreath.networks.mr_ipt.mr_ipt:MRIPT",
        "unet": "onebreath.networks.restoration.unet:UNet",
        "vit": "onebreath.networks.restoration.vit:ViT",
    },
)
"""Networks that restore magnitude images, likewise."""
