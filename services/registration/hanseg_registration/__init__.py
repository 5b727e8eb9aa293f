"""Bringing a T1 MR onto the planning CT, and saying how well that went."""
