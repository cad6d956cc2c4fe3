"""CineNet."""
