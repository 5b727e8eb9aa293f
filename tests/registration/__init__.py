"""Facts about the registration service."""
