"""Bytes and HDF5: framing, messages, structures, connections, files."""
