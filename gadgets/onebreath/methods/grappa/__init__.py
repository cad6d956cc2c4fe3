"""Interpolation in k-space with kernels from calibration lines: GRAPPA, ARC, and what kernels share."""
