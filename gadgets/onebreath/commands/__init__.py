"""The command line's words, one per file."""
