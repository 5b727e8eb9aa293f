"""The table of instances that were stored by STOW-RS, for a job to come.

An instance is kept for as long as an upload is, and a study's as long as its newest.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from hanseg_shared.access import LOCAL_OWNER
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import DicomInstance, study_owner
from hanseg_shared.jobs.schema import dicom_instances as instances


class DicomInstancesTable:
    """The instances of each study; their files are in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, instance: DicomInstance) -> DicomInstance:
        """Note an instance, unless its study has one of its UID; return the one noted.

        The first one counts: an instance that is sent again with other bytes is not
        the one that is returned.
        """
        with self._database.write() as connection:
            values = {
                "owned_by": instance.owned_by,
                "study_uid": instance.study_uid,
                "sop_instance_uid": instance.sop_instance_uid,
                "sop_class_uid": instance.sop_class_uid,
                "sha256": instance.sha256,
                "bytes": instance.bytes,
                "created_at": self._database.time(connection),
            }
            try:
                with connection.begin_nested():
                    connection.execute(instances.insert().values(values))
            except IntegrityError:
                row = connection.execute(
                    sa.select(instances).where(
                        *_of_study(instance.study_uid, instance.owned_by),
                        instances.c.sop_instance_uid == instance.sop_instance_uid,
                    )
                ).one()
                return DicomInstance(**row._mapping)
        return instance

    def list_study(
        self, study_uid: str, owned_by: str = LOCAL_OWNER
    ) -> list[DicomInstance]:
        """Return what an owner sent of a study, by the instances' UIDs."""
        query = (
            sa.select(instances)
            .where(*_of_study(study_uid, owned_by))
            .order_by(instances.c.sop_instance_uid)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [DicomInstance(**row._mapping) for row in rows]

    def count_study(
        self, study_uid: str, owned_by: str = LOCAL_OWNER
    ) -> tuple[int, int]:
        """Return how many instances a study has, and their bytes together."""
        query = sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.sum(instances.c.bytes), 0)
        ).where(*_of_study(study_uid, owned_by))
        with self._database.read() as connection:
            count, size = connection.execute(query).one()
        return int(count), int(size)

    def delete_study(self, study_uid: str, owned_by: str = LOCAL_OWNER) -> int:
        """Forget an owner's study and return how many instances it had.

        Deleting their files is the caller's part.
        """
        with self._database.write() as connection:
            deleted = connection.execute(
                instances.delete().where(*_of_study(study_uid, owned_by))
            ).rowcount
        self._database.forget_deleted()  # a study's UID is the patient's
        return deleted

    def drop_old(self, *, older_than_seconds: float) -> list[str]:
        """Forget studies whose newest instance is of that age; return their owners.

        Deleting their files is the caller's part.
        """
        with self._database.write() as connection:
            limit = self._database.time(connection) - older_than_seconds
            studies = (instances.c.study_uid, instances.c.owned_by)
            old = connection.execute(
                sa.select(*studies)
                .group_by(*studies)
                .having(sa.func.max(instances.c.created_at) < limit)
            ).all()
            for uid, owned_by in old:
                connection.execute(instances.delete().where(*_of_study(uid, owned_by)))
        return [study_owner(uid, owned_by) for uid, owned_by in old]


def _of_study(study_uid: str, owned_by: str) -> tuple[sa.ColumnElement[bool], ...]:
    return instances.c.study_uid == study_uid, instances.c.owned_by == owned_by
