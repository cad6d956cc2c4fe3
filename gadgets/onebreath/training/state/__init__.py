"""State of a training: processes, checkpoints, journal, and requests to stop."""
