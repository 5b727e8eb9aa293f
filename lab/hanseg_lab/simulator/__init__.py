"""T1-like MR made from a real CT, with exactly known motion and deformation."""

from hanseg_lab.simulator.case import SimulatedMr, simulate_mr
from hanseg_lab.simulator.plan import Plane, Reach

__all__ = ["Plane", "Reach", "SimulatedMr", "simulate_mr"]
