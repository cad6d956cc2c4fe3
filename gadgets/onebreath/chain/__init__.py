"""The gadget interface, the chain of a configuration, its overlapped pipeline, and decisions as messages."""
