"""Images as DICOM: files, and a queue for sending them to a PACS."""
