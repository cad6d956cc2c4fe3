"""Methods that run a trained network: its input, its memory, its devices."""
