"""MR-IPT: heads, a shared encoder and decoder, and tails for magnitude images."""
