"""Images for other programs: PNG, GIF and MP4 to look at, NIfTI to compute with."""
