"""Simulated head-and-neck patients: seeded, with all 30 organs, CT and T1 MR."""

from hanseg_lab.phantom.folder import write_han_seg_case
from hanseg_lab.phantom.phantom_case import PhantomCase, Scope, make_case

__all__ = ["PhantomCase", "Scope", "make_case", "write_han_seg_case"]
