"""Logs, error reports, events and software versions."""
