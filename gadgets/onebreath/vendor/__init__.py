"""Import of scanners' raw data into ISMRMRD files."""
