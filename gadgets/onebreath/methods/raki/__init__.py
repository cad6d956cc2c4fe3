"""RAKI and iRAKI: networks learned from the scan's own calibration lines."""
