"""Many scans through one configuration: side by side, resumed after a crash, told in one table and one page."""
