"""Networks meet the measured data: the sampled series, data consistency, and where iterations start."""
