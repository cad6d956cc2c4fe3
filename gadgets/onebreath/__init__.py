"""Onebreath: deep-learning MR reconstruction for the Gadgetron chain."""

__version__ = "0.1.0"
