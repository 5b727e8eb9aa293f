"""Where the head and the MR's data are, and motions and deformations of points."""
