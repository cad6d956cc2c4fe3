"""Scans kept on disk: written as they come, and resumed after a crash or a restart."""
