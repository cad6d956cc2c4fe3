"""Files of images, read for people and other programs: values in their units, frames in order, places in the body."""
