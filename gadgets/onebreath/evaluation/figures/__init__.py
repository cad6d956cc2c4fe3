"""Pictures of an evaluation: images and errors, attention weights, ablations."""
