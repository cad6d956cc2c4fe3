"""Faults of scans seen in the field, each with its own option."""
