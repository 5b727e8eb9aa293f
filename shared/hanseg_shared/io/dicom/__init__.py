"""DICOM series in: archives and folders become volumes, and a record of the source."""
