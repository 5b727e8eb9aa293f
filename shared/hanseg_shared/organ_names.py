"""Which organ a label of somebody else's model, data set or file is, by its name.

Names differ in case, underscores and where the side stands; and between the challenge,
TG-263 (Mayo et al. 2018, doi 10.1016/j.ijrobp.2017.12.013), TotalSegmentator and what
people type. A name is an organ only where the anatomy is the same: TotalSegmentator's
common carotid artery, or an eye that is not parted, is none of the 30.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata

from hanseg_shared.organs import ORGANS, Side

FURTHER_NAMES: dict[str, tuple[str, ...]] = {
    "A_Carotid": ("carotid", "carotid a", "carotid artery", "artery carotid"),
    "Arytenoid": ("arytenoids", "arytenoid cartilage"),
    "Bone_Mandible": ("mandible", "mandible bone", "mandibula"),
    "Brainstem": ("brain stem",),
    "BuccalMucosa": ("mucosa buccal", "cavity oral bucc"),
    "Cavity_Oral": ("oral cavity",),
    "Cochlea": (),
    "Cricopharyngeus": ("cricopharyngeal inlet", "cricopharyngeus muscle"),
    "Esophagus_S": (
        "esophagus",
        "oesophagus",
        "cervical esophagus",
        "cervical oesophagus",
        "esophagus cervical",
        "s esophagus",
    ),
    "Eye_A": ("eye anterior", "anterior eye", "anterior eyeball", "eyeball anterior"),
    "Eye_P": (
        "eye posterior",
        "posterior eye",
        "posterior eyeball",
        "eyeball posterior",
    ),
    "Glnd_Lacrimal": ("lacrimal gland", "lacrimal glnd", "gland lacrimal", "lacrimal"),
    "Glnd_Submand": (
        "submandibular gland",
        "gland submandibular",
        "glnd submandibular",
        "submandibular glnd",
        "submand glnd",
        "submandibular",
        "submand",
    ),
    "Glnd_Thyroid": ("thyroid", "thyroid gland", "thyroid glnd", "gland thyroid"),
    "Glottis": ("larynx glottis", "glottic larynx", "larynx glottic"),
    "Larynx_SG": (
        "sg larynx",
        "supraglottis",
        "supraglottic larynx",
        "larynx supraglottic",
    ),
    "Lips": ("lip",),
    "OpticChiasm": ("chiasm", "chiasma", "optic chiasma"),
    "OpticNrv": ("optic nerve", "nerve optic"),
    "Parotid": ("parotid gland", "parotid glnd", "gland parotid", "glnd parotid"),
    "Pituitary": ("pituitary gland", "gland pituitary", "glnd pituitary", "hypophysis"),
    "SpinalCord": ("spinal cord", "cord spinal"),
}
"""What else an organ is called, by its name without the side."""

SIDE_WORDS = {Side.LEFT: ("l", "left", "lt"), Side.RIGHT: ("r", "right", "rt")}
"""How a side is written, before or behind the organ."""

NEAREST = 3
"""How many organs are proposed for a name that is none."""


def organ_of(name: str) -> str | None:
    """Return the organ that a label's name means, or None if it means none."""
    return _organs_by_name().get(_compact(name))


def nearest_organs(name: str) -> tuple[str, ...]:
    """Return the organs whose names look most like this one, the nearest first."""
    known = _organs_by_name()
    close = difflib.get_close_matches(_compact(name), known, n=12, cutoff=0.4)
    return tuple(dict.fromkeys(known[each] for each in close))[:NEAREST]


@functools.cache
def _organs_by_name() -> dict[str, str]:
    """Return every spelling, compact, with the organ it means."""
    return {
        spelling: each.name
        for each in ORGANS
        for spelling in _spellings(each.name, each.side)
    }


PARTS = {"Eye_A": ("ant", "anterior"), "Eye_P": ("post", "posterior")}
"""Qualifiers that TG-263 puts behind the side (section 7.2), as in ``Eye_L^Ant``."""


def _spellings(name: str, side: Side) -> list[str]:
    if side is Side.NONE:
        return [_compact(each) for each in (name, *FURTHER_NAMES[name])]
    stem = name[:-1].rstrip("_")
    stems = [_compact(each) for each in (stem, *FURTHER_NAMES[stem])]
    words = SIDE_WORDS[side]
    return [
        *(f"{each}{word}" for each in stems for word in words),
        *(f"{word}{each}" for each in stems for word in words),
        *(f"eye{word}{part}" for word in words for part in PARTS.get(stem, ())),
    ]


def _compact(name: str) -> str:
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", name).casefold())


def is_other_structure(name: str) -> bool:
    """Whether a name is a well-known structure that is none of the 30 organs."""
    compact = _compact(name)
    for word in ("left", "right"):
        compact = compact.removeprefix(word).removesuffix(word)
    return compact in _OTHER or _NUMBERED.fullmatch(compact) is not None


_OTHER = frozenset({
    "adrenalgland", "aorta", "atrialappendage", "auditorycanal", "autochthon", "body",
    "bodyextremities", "bodytrunc", "brachialplex", "brachiocephalictrunk",
    "brachiocephalicvein", "brain", "braininterior", "cartilage", "cavernoussinus",
    "cerebellum", "clavicula", "colon", "commoncarotidartery", "costalcartilages",
    "cricoidcartilage", "ctv", "duodenum", "external", "eye", "eyel", "eyelens",
    "eyelensl", "eyelensr", "eyer", "face", "femur", "gallbladder", "globe",
    "gluteusmaximus", "gluteusmedius", "gluteusminimus", "gtv", "hardpalate", "head",
    "heart", "hip", "hippocampus", "humerus", "hyoid", "hypopharynx", "hypothalamus",
    "iliacartery", "iliacvena", "iliopsoas", "inferiorvenacava",
    "internalcarotidartery", "internaljugularvein", "kidney", "larynx", "larynxair",
    "lens", "lensl", "lensr", "liver", "lung", "lungl", "lunglowerlobe",
    "lungmiddlelobe", "lungr", "lungupperlobe", "lymphnodes", "masseter",
    "musclconstrict", "nasalcavity", "nasopharynx", "orbit", "orbitl", "orbitr",
    "oropharynx", "pancreas", "pharynx", "portalveinandsplenicvein", "prostate",
    "ptv", "pulmonaryvein", "retina", "rib", "sacrum", "scapula", "sinusfrontal",
    "sinusmaxillary", "skin", "skull", "smallbowel", "softpalate", "spinalcanal",
    "spleen", "sternum", "stomach", "styloidprocess", "subclavianartery",
    "superiorvenacava", "target", "teeth", "teethlower", "teethupper", "temporalis",
    "temporallobe", "thyroidcartilage", "tongue", "tongueall", "trachea", "tumor",
    "tumour", "urinarybladder", "vertebra", "vertebrae", "zygomaticarch",
})  # fmt: skip
"""Names, compact and without sides, of other structures that clinics contour."""

_NUMBERED = re.compile(r"(vertebrae?|rib(left|right)?)[ctls]?[0-9]{1,2}|[gcp]tv[0-9]*")
