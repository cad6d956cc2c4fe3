"""Training of the networks: data sets, masks, losses, and a trainer that can be stopped at any step.

Beside the chain: nothing here is imported by gadgets or methods.
"""
