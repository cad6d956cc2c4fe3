"""CRNN-MRI: unrolled convolutional recurrent network for cine (Qin et al., IEEE Trans Med Imaging 2019)."""
