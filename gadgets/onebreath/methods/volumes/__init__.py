"""Scans with partitions: what methods get of a volume, plane by plane."""
