"""What one scan leaves for another, in a storage server or a folder: noise, calibration lines, coil maps, kernels."""
