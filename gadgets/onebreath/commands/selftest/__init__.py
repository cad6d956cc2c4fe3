"""The self-test: simulated scans go through a server, and what comes back is judged."""
