"""Image quality measures, and the comparison of methods."""
