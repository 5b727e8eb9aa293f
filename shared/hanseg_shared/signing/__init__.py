"""Signed manifests: which files a result has, what made them, and who says so."""
