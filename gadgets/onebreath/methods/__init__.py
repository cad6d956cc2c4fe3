"""Ways to reconstruct one slice: (k-space, coil maps, mask) -> images.

Every method is one class in its own file; `base` holds what they share. Nothing here reads headers or sockets.
"""
