"""The measured data in networks: the sampled series, data consistency, and initial images."""
