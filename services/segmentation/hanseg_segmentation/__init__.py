"""The REST API and the worker that contours the 30 organs at risk."""
