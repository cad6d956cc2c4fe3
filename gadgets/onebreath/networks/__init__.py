"""Torch modules, one folder per family; they know nothing of files, headers or scaling."""
