"""How many jobs the service finishes in an hour, and what of that its stages are."""
