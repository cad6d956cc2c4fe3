"""Everything that needs a GPU, in one command on a bare machine without network: tests, benchmarks, training."""
