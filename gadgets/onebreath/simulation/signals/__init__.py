"""Data of simulated lines: of slices, and of slabs with partitions."""
