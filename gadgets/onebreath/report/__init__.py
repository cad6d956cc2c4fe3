"""Report of a scan: images, maps, and decisions with their reasons, in one self-contained HTML file."""
