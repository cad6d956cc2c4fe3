"""The border to Gadgetron: the wire, the targets it starts, a small embedded host, and replay of raw files.

Nothing here imports torch or scipy: a node whose gadgets do not need them starts without them.
"""
