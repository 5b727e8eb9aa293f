"""What is sent for a study: a CT, its MR and their registration, as instances."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict

from hanseg_shared.documents import DicomOutput, JobOptions

OF_A_USED_MR = frozenset({DicomOutput.REG, DicomOutput.MR})
"""What there is only with an MR, and only if that was not rejected."""


class PlannedInstance(BaseModel):
    """An instance: where Orthanc has it, and its SOP Instance UID (0008,0018)."""

    model_config = ConfigDict(frozen=True)

    id: str
    sop_uid: str


class Plan(BaseModel):
    """The instances that make one job.

    Attributes:
        ct: Of the planning CT's series, sorted by UID, as all are.
        mr: Of the MR's; empty where there is none.
        reg: The spatial registration of the two, if the clinic sent one.
    """

    model_config = ConfigDict(frozen=True)

    ct: tuple[PlannedInstance, ...]
    mr: tuple[PlannedInstance, ...] = ()
    reg: tuple[PlannedInstance, ...] = ()

    @property
    def key(self) -> str:
        """The hash of the sorted SOP Instance UIDs: equal instances, equal key."""
        uids = sorted(each.sop_uid for part in self.parts.values() for each in part)
        return hashlib.sha256("\n".join(uids).encode()).hexdigest()

    @property
    def parts(self) -> dict[str, tuple[PlannedInstance, ...]]:
        """What is sent, by the name of its part in a request."""
        parts = {"ct": self.ct, "mr": self.mr, "reg": self.reg}
        return {name: part for name, part in parts.items() if part}

    def options(self, outputs: tuple[DicomOutput, ...], template: str) -> JobOptions:
        """Return what is asked of the service for it.

        Outputs that need an MR are left out where there is none.
        """
        if not self.mr:
            outputs = tuple(each for each in outputs if each not in OF_A_USED_MR)
        return JobOptions(outputs=outputs, template=template)
