"""Data that one scan keeps for later ones in a storage server or a folder: noise, calibration, coil maps, kernels."""
