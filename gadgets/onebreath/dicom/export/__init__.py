"""What a worker sends to a PACS by itself: the images of each scan that has ended."""
