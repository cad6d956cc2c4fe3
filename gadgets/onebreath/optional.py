"""Optional packages: imported when needed, with an error of one line that says how to install them."""

from __future__ import annotations

import importlib
from types import ModuleType

from onebreath.errors import ConfigError

PACKAGES = {"mrd": "mrd-python", "PIL": "pillow", "skimage": "scikit-image"}
"""Packages whose modules are called otherwise."""


def required(name: str, extra: str, what: str) -> ModuleType:
    """Import a package that an extra of this one installs.

    Parameters
    ----------
    name
        The module.
    extra
        The extra that installs it.
    what
        What needs it, as the beginning of the sentence that says so: "A report".

    Raises
    ------
    ConfigError
        If it is not installed, or finds no folder for its files, as Matplotlib without one for temporary files.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        module = name.partition(".")[0]
        package = PACKAGES.get(module, module)
        raise ConfigError(f"{what} needs the package {package}: pip install 'onebreath[{extra}]'.") from error
    except OSError as error:
        raise ConfigError(
            f"{what} needs the package {name.partition('.')[0]}, which cannot be used: {error}"
        ) from error
