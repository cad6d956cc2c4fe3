"""How good an image is: measures, and the comparison of methods."""
