"""Planes through volumes, and sheets of planes with contours and text."""
