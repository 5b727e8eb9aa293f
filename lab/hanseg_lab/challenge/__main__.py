"""Run as ``python -m hanseg_lab.challenge``."""

from hanseg_lab.challenge.cli import main

main()
