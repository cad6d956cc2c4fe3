"""What people read about a scan: logs, reports, events, software versions."""
