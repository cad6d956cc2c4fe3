"""RAKI and iRAKI: networks learned from a scan's own calibration lines."""
