"""Images for other programs: PNG, GIF and MP4 for viewing, NIfTI for analysis."""
