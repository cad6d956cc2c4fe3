"""Reconstruction methods: k-space, coil maps and mask of a slice to images.

Every method is one class in its own file; `base` holds what they share. Nothing here reads headers or sockets.
"""
