"""Interpolation in k-space with kernels from calibration lines: GRAPPA and ARC."""
