"""From sorted k-space to images: choice of the method, its checks, and noise maps."""
