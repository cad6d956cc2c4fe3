"""CineNet: small U-Nets on slices of the temporal spectrum (A. Kofler et al., Med Phys 2021)."""
