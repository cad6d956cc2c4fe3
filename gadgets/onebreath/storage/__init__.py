"""What one scan leaves for another: noise covariances and calibration lines, in a storage server or in a folder."""
