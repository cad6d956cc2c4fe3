"""Scans as they come from the field: what goes wrong with them, by options."""
