"""Scans with partitions: input of methods, plane by plane."""
