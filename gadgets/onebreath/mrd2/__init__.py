"""MRD version 2, the streams of mrd-python: converted from and to what the chain reads and writes, by pipes too."""
