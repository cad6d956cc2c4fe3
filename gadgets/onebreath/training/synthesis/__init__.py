"""Training examples made on the training device: sequences, coils, noise and calibration as torch operations.

Scalars are drawn on the host, arrays on the device; nothing waits for the device. The same seed gives the same examples
on the same kind of device, in any order.
"""
