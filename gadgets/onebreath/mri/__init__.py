"""Arrays only: the MR signal model and calibration, written once for numpy, cupy and torch.

Nothing here knows of headers, messages, files or networks. Axis order is ``(frame, coil, y, x)`` with y the phase
encoding and x the readout, coil maps are ``(set, coil, y, x)``, masks broadcast to ``(frame, y, x)``, the Fourier
transform is centred and unitary. Results live on the device of their inputs and keep their precision.
"""

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of any library that array-api-compat knows (numpy, cupy, torch); there is no common static type."""
