"""T1-like MR made from a real CT, with exactly known motion and deformation."""

from hanseg_lab.simulator.scan_plan import Reach, SlicePlane
from hanseg_lab.simulator.simulated_mr import SimulatedMr, simulate_mr

__all__ = ["Reach", "SimulatedMr", "SlicePlane", "simulate_mr"]
