"""The limits of the verdict on an MR, each with what was measured to set it.

`hanseg_registration.verdict` compares the numbers of a registration with them; a
stricter or a milder verdict is a change of this file.
"""

from __future__ import annotations

SMALLEST_EXCESS = 2.5
"""Required similarity gain over the mean displaced pose, as a multiple of it.

Measured: 3.8 on RIRE 001 and 6 to 17 on simulated MR; 1.2 to 3.3 for other people's
heads, heads turned upside down, and cylinders.
"""

SMALLEST_Z_SCORE = 8.4
"""Required similarity above displaced poses, in their standard deviations.

Measured: 9.8 and more for 210 right poses (RIRE 001 9.8, simulated MR 10 to 45), 8.8
for patients with a bent neck; 6.1 to 8.0 for whole heads and long slabs whose header
stretched the slices by a quarter.
"""

SMALLEST_GAIN = 0.05
"""Required normalised mutual information above independence.

Measured: 0.23 on RIRE 001 and 0.24 to 0.38 on simulated MR; below 0.003 for noise.
"""

LARGEST_DISAGREEMENT_MM = 1.0
"""How far two starts may end apart, on average over the head.

Measured: up to 0.8 for right poses, 0.5 to 17 for wrong ones. Of nine slabs cut from
RIRE 001's MR, those that stayed below lie within 2.0 mm of the markers where they have
data, those above 1.9 to 7 mm; networks are trained with MR up to 2 mm out of place.
"""

LARGEST_DRIFT_MM = 4.0
"""How far a climb may lead from the pose, on average over the head.

It estimates how wrong a pose is: for poses displaced on purpose by 2 to 30 mm it was
within 1 mm of that. Measured: up to 1.1 mm on nine simulated MRs and 2.5 mm on RIRE 001
for right poses; 6.6 to 8.8 mm for the same poses 8 mm off.
"""

SMALLEST_SKIN_SHARE = 0.55
"""Share of the CT's skin that must have the MR's within 3 mm.

Measured: 0.72 to 0.98 for right poses (RIRE 001 and nine simulated MRs); 0.31 to 0.45
for other people's heads. It detects few of the poses 8 mm off (0.34 to 0.75): the drift
does.
"""

LARGEST_SKIN_DISTANCE_MM = 2.5
"""Median distance of the MR's skin from the CT's.

Measured: at most 2.0 mm for 210 right poses; 3 to 5 mm where a header stretched the
slices by a quarter and no other check failed, above all in a 60 mm slab.
"""

LARGEST_BENT_SKIN_DISTANCE_MM = 3.5
"""The same at the rigid pose of an MR that is deformed, if it is kept within
`LARGEST_SKIN_DISTANCE_MM` after that: a bent neck is what the deformation is for.

Measured: 1 to 3 mm for 18 bent patients whose deformed MR was right, 4 mm for one that
was and one that was not.
"""

SMALLEST_COVERAGE = 0.05
"""Share of the CT's head that the MR's data must cover."""

LARGEST_ROTATION_DEG = 40.0
"""Headers' directions are trusted to 25 degrees; a larger turn than this is wrong."""

LARGEST_STRETCH = 0.08
"""The most an affine motion may change a length: scanners are better than that."""

LARGEST_MIRROR_SHARE = 0.96
"""Similarity the mirror image may reach, as a share of the MR's own.

Measured: 0.89 on RIRE 001 and 0.47 to 0.78 on simulated MR; 0.97 to 1.02 for other
people's heads, and 1.12 to 1.6 where left and right were swapped.
"""

SWAPPED_MIRROR_SHARE = 1.04
"""From this share on the mirror image fits better than the MR."""
