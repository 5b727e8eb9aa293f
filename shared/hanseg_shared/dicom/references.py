"""References to the images that an object was made of (PS3.3 C.12.2, 10.3)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hanseg_shared.io.dicom.source import DicomSource, SeriesSource


def list_instances(series: SeriesSource) -> list[Dataset]:
    """Return an item for each instance of a series, along z; enhanced ones have one."""
    uids = dict.fromkeys(each.sop_instance_uid for each in series.slices)
    return [_refer_to_instance(series.sop_class_uid, uid) for uid in uids]


def add_common_references(dataset: Dataset, source: DicomSource) -> None:
    """Add the Common Instance Reference module: every image of CT and MR, by series.

    A series of another study than the object's comes under that study.
    """
    sources = [source.ct] if source.mr is None else [source.ct, source.mr]
    study = source.ct.study_instance_uid
    inside = [each for each in sources if each.study_instance_uid == study]
    outside = [each for each in sources if each.study_instance_uid != study]
    dataset.ReferencedSeriesSequence = Sequence(map(_refer_to_series, inside))
    if outside:
        items = Sequence(map(_refer_to_study, outside))
        dataset.StudiesContainingOtherReferencedInstancesSequence = items


def make_code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    """Return a coded entry (PS3.3 8.8)."""
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = scheme
    code.CodeMeaning = meaning
    return code


def _refer_to_instance(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _refer_to_series(series: SeriesSource) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series.series_instance_uid
    item.ReferencedInstanceSequence = Sequence(list_instances(series))
    return item


def _refer_to_study(series: SeriesSource) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = series.study_instance_uid
    item.ReferencedSeriesSequence = Sequence([_refer_to_series(series)])
    return item
