"""Webhooks: what a service tells other programs, signed as Standard Webhooks."""
