"""The database of scans that have ended: who writes it, what stands in it, and what pages ask it for."""
