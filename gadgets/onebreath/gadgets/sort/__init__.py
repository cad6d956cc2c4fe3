"""Sorting of acquisitions into k-space: frames, cardiac phases, slices, calibration lines."""
