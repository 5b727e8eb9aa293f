"""The libraries that optimise a pose: elastix, and ANTs where it is installed."""
