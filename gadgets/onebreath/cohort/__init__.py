"""Many scans through one configuration: in parallel, resumable, and summarised in a table and a page."""
