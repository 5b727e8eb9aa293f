"""Model packages out of what other tools trained."""
