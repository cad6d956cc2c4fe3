"""Raw data of scanners, taken into ISMRMRD files."""
