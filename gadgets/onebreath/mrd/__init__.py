"""What a scan's records mean: header, acquisitions, buffers, calibration lines, images' meta."""
