"""Figures of an evaluation: images and errors, attention weights, and studies."""
