"""The laboratory: what measures, simulates and trains; in no image of the service."""
