"""Training data: measured and simulated slices, masks, and examples drawn from them."""
