"""From acquisitions to k-space: frames, cardiac phases, slices, calibration lines."""
