"""A public ledger of replayed scans with injected faults; see `benchmarks.ledger.__main__`."""
