"""The worker's page: what runs, what was done, and whether noise, errors and latencies drift. See docs/web.md."""
