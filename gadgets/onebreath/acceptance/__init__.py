"""Acceptance of a scanner, a configuration and a model at a site: measured tests with limits, for a page to sign."""
