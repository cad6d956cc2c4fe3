"""iRAKI under a name of its own, so that it can be a candidate beside RAKI."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from onebreath.methods.raki.parameters import RakiParameters
from onebreath.methods.raki.raki import Raki


class IrakiParameters(RakiParameters):
    """Parameters of `Iraki`: those of RAKI, with three rounds of networks as small as RAKI's."""

    variant: Literal["iraki"] = Field(default="iraki", description="Always iraki; see the method raki.")
    channels_1: int = Field(default=128, ge=0, le=4096, description="Channels after the first layer; 0: 256.")
    channels_2: int = Field(default=64, ge=0, le=4096, description="Channels after the second layer; 0: 128.")
    rounds: int = Field(default=3, ge=0, le=100, description="Rounds; 0: as published for this acceleration (8 to 25).")


class Iraki(Raki):
    """RAKI that is trained in rounds on calibration lines enlarged by its own reconstruction; see `Raki`."""

    name = "iraki"
    Parameters = IrakiParameters
    parameters: IrakiParameters
