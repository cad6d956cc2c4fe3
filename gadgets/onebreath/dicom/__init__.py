"""Images as DICOM: files that a reading room takes, and the way to a PACS that may be down."""
