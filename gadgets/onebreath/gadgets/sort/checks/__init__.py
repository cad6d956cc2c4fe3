"""What of a scan's lines is missing or odd."""
