"""DISTS, a perceptual distance: the network, and its weights."""
