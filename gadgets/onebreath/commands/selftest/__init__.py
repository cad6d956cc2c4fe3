"""The self-test: sends simulated scans to a server and checks the images."""
