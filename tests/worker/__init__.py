"""Facts about workers, their messages and their settings."""
