"""Examples: masks, coils, motion, noise, and what is made of measured series."""
