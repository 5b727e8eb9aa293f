"""The average patient: every structure's shape and place, in template millimetres.

The template's origin is the brain stem's centroid on the mid-plane; x grows to the
patient's left, y to the back, z up. Centroids, extents and volumes of the organs were
measured on the expert contours of 31 scans (google-deepmind/tcia-ct-scan-dataset,
CC BY 4.0); the body's outline on planning CTs of OpenKBP (MIT). The sizes of organs
that those do not draw follow HaN-Seg (doi 10.1002/mp.16197) and the consensus
delineation guideline (Brouwer et al. 2015, doi 10.1016/j.radonc.2015.07.041).
"""

from hanseg_lab.phantom.template.airway import AIRWAY
from hanseg_lab.phantom.template.brain import BRAIN, OPTIC_PATHWAY
from hanseg_lab.phantom.template.face import FACE
from hanseg_lab.phantom.template.mouth import JAW_OVER_GLANDS, MOUTH
from hanseg_lab.phantom.template.neck import NECK
from hanseg_lab.phantom.template.skull_base import SKULL_BASE
from hanseg_lab.phantom.template.spine import SPINE
from hanseg_lab.phantom.template.structure import Structure
from hanseg_lab.phantom.template.trunk import TRUNK

STRUCTURES: tuple[Structure, ...] = (
    *TRUNK,
    *SPINE,
    *BRAIN,
    *SKULL_BASE,
    *FACE,
    *OPTIC_PATHWAY,
    *MOUTH,
    *AIRWAY,
    *NECK,
    *JAW_OVER_GLANDS,
)
"""Every structure inside the body, in the order in which they are laid.

A later structure replaces what it covers of an earlier one.
"""
