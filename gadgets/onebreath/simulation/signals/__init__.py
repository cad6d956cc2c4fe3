"""Data of simulated lines, for slices and for slabs with partitions."""
