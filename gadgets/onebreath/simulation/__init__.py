"""Simulated cardiac scans: raw data as a scanner sends it, and the ground truth.

Everything is computed from `ScanOptions` and a seed; no data files are needed.
"""
