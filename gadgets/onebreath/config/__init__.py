"""The XML of a chain: streams, properties, node options, and what a site permits."""
