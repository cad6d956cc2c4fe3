"""Every function of mri/ is tested on each array library that is installed."""

from tests.helpers import backend  # noqa: F401
