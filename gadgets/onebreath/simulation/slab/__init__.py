"""Simulated scans of one slab with partitions."""
