"""The whole service on one machine: Redis, the API and the workers as children."""

from hanseg_shared.stack.stack import Stack

__all__ = ["Stack"]
