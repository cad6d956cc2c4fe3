"""Tests with a real Gadgetron: its server, its client, and every configuration by name."""
