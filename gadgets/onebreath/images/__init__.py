"""Files of images, read with units, frames in order, and positions in the patient."""
