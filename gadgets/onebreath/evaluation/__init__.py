"""Evaluation: image quality measures, and comparisons of methods."""
