"""Commissioning: a department's own cases and known phantoms against its limits."""
