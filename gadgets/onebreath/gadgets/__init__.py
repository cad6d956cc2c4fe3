"""The gadgets: steps of the chain."""
