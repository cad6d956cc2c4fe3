"""Torch modules, one file per paper; they know nothing of files, headers or scaling."""
