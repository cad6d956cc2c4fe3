"""Cardiac scans that never happened: raw data as a scanner would send it, with the truth beside it.

Everything is computed from `ScanOptions` and a seed; no data files are needed.
"""
