"""Talking to the service: submitting jobs, following them, fetching their results."""

from hanseg_shared.client.client import Client, JobRequest

__all__ = ["Client", "JobRequest"]
