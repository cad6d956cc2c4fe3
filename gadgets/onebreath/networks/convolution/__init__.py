"""Convolutions of images and series, by PyTorch or by compiled code of this package."""
