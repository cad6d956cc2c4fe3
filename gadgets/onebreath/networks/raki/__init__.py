"""RAKI and iRAKI: networks trained on a scan's own calibration lines."""
