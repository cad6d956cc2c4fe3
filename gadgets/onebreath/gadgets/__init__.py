"""The gadgets: steps of the chain, in the order in which data pass them."""
