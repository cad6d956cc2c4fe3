"""Arrays and weights of the released A-LIKNet (axes: batch, frame, x, y, coil) in our order and under our names."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class Golden:
    """One or several golden files."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.arrays = {key: value for name in names for key, value in np.load(folder / f"{name}.npz").items()}

    def series(self, key: str) -> Tensor:
        """Image (batch, frame, y, x), or k-space, mask or maps (batch, frame, coil, y, x)."""
        array = torch.from_numpy(self.arrays[key])
        image = array.shape[-1] == 1 and key != "in/mask"
        return array[..., 0] if image else array.movedim(-1, 2)

    def number(self, key: str) -> Tensor:
        """A scalar."""
        return torch.tensor(float(self.arrays[key].reshape(())))

    def attention(self, prefix: str, name: str) -> dict[str, Tensor]:
        """Two dense layers of ours under `name`."""
        found = {}
        for ours, theirs in (("squeeze", "dense1"), ("excite", "dense2")):
            found[f"{name}.weights.{ours}.weight"] = self._weight(f"{prefix}.{theirs}.kernel").T
            found[f"{name}.weights.{ours}.bias"] = self._weight(f"{prefix}.{theirs}.bias")
        return found

    def iteration(self, index: int) -> dict[str, Tensor]:
        """State of an iteration with all branches."""
        here = f"iter{index}"
        state = {
            "step": self._scalar(f"{here}.img_dc.weight"),
            "sharing.kspace_weight": self._scalar(f"{here}.isl.tau_ksp"),
            "sharing.image_weight": self._scalar(f"{here}.isl.tau_img"),
            "image.tau": self._scalar(f"{here}.tau"),
            "image.weight": self._scalar(f"{here}.p_weight"),
            "image.low_rank.coefficients": self._weight(f"{here}.D.thres_coef"),
        }
        for place in (0, 2):
            # (x, y, coil, in, out, part) to (out, coil, in, y, x, part)
            state |= self._conv(f"{here}.ksp.{place}.conv", f"kspace.layers.{3 * place // 2}", (4, 2, 3, 0, 1, 5))
            state[f"kspace.layers.{3 * place // 2 + 1}.bias"] = self._weight(f"{here}.ksp.{place}.conv.modrelu_bias")
            state |= self.attention(f"{here}.ksp.{place + 1}.se_coil", f"kspace.layers.{3 * place // 2 + 2}")
        state |= self._conv(f"{here}.ksp.4.conv", "kspace.layers.6", (4, 2, 3, 0, 1, 5))
        return state | {f"image.denoiser.{key}": value for key, value in self._denoiser(f"{here}.R").items()}

    def _denoiser(self, prefix: str) -> dict[str, Tensor]:
        state = self._conv(f"{prefix}.out", "out", (4, 0, 3, 5))
        for theirs, ours, kinds in (
            ("enc0", "encoders.0", "st"),
            ("enc1", "encoders.1", "st"),
            ("bottleneck", "bottom", "st"),
            ("dec0", "decoders.0", "ts"),
            ("dec1", "decoders.1", "ts"),
        ):
            for place, kind in enumerate(kinds):
                order = (4, 0, 3, 1, 2, 5) if kind == "s" else (4, 0, 3, 5)
                state |= self._conv(f"{prefix}.{theirs}.{place}", f"{ours}.{place}.conv", order)
                bias = self._weight(f"{prefix}.{theirs}.{place}.modrelu_bias")
                state[f"{ours}.{place}.activation.bias"] = bias
        for level, theirs in enumerate(("dec1.3", "bottleneck.2")):
            kernel = self._weight(f"{prefix}.{theirs}.kernel")[0, 0, 0] * torch.tensor([1.0, -1.0])  # it is conjugated
            state[f"up.{level}.values.weight"] = kernel[:, None]
            state[f"up.{level}.bias"] = self._weight(f"{prefix}.{theirs}.bias").flatten()
            state[f"up.{level}.activation.bias"] = self._weight(f"{prefix}.{theirs}.modrelu_bias")
            state |= self.attention(f"{prefix}.dec{level}.2.se_time", f"attentions.{level}")
        return state

    def _conv(self, theirs: str, ours: str, order: tuple[int, ...]) -> dict[str, Tensor]:
        """A convolution whose kernel axes come in this order; those left out have size 1."""
        kernel = self._weight(f"{theirs}.kernel")
        left_out = [axis for axis in range(6) if axis not in order]
        kernel = kernel.permute(*left_out, *order)
        state = {f"{ours}.weight": kernel.reshape(kernel.shape[len(left_out) :])}
        if f"weights/{theirs}.bias" in self.arrays:
            state[f"{ours}.bias"] = self._weight(f"{theirs}.bias").flatten()
        return state

    def _scalar(self, key: str) -> Tensor:
        return self.number(f"weights/{key}")

    def _weight(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[f"weights/{key}"])
