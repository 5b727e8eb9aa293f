"""The bridge between Orthanc, which speaks DICOM with the clinic, and the REST API."""
