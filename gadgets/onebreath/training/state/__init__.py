"""The state of a training: its processes, checkpoints and journal, and when it stops."""
