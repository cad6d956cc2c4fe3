"""Training of the networks: data sets, masks, losses, and a trainer that can be stopped at any step.

Not part of the chain: gadgets and methods import nothing from here.
"""
