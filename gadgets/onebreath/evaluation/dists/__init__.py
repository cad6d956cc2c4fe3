"""DISTS, a perceptual distance: the network, and the file of its weights."""
