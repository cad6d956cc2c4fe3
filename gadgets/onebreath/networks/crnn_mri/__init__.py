"""CRNN-MRI."""
