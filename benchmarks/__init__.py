"""Speed, memory and accuracy, each measured against a named peer in the same run."""
