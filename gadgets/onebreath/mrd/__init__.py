"""Interpretation of a scan's records: header, acquisitions, buffers, calibration lines, images' meta."""
