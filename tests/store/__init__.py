"""Facts about the payload store."""
