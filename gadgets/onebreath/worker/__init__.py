"""The resident worker: scans admitted, scheduled, kept, resumed and delivered."""
