"""CRUNet-MR, its feature bank, and 3D UNet-MR."""
