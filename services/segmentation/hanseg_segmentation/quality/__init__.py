"""What is checked about every contour before it leaves the service."""
