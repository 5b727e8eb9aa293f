"""The REST API, version 1. It never imports torch."""
