"""Building blocks of several families of networks."""
