"""The table of templates: every version that a site has saved."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from hanseg_shared.dicom.template import Template
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import templates


class TemplatesTable:
    """A site's own templates; the one that ships is not among them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_latest(self) -> list[Template]:
        """Return the newest version of each template, by name."""
        newest = (
            sa.select(templates.c.name, sa.func.max(templates.c.version).label("last"))
            .group_by(templates.c.name)
            .subquery()
        )
        query = (
            sa.select(templates.c.document)
            .join(
                newest,
                sa.and_(
                    templates.c.name == newest.c.name,
                    templates.c.version == newest.c.last,
                ),
            )
            .where(templates.c.document.is_not(None))
            .order_by(templates.c.name)
        )
        with self._database.read() as connection:
            return [
                Template.model_validate(found)
                for found in connection.execute(query).scalars()
            ]

    def get(self, name: str, version: int | None = None) -> Template:
        """Return a version of a template, the newest if none is named.

        Raises:
            JobNotFoundError: There is none, or it was deleted.
        """
        with self._database.read() as connection:
            found = _find(connection, name, version)
        if found is None:
            which = name if version is None else f"{name}@{version}"
            raise JobNotFoundError(
                f"there is no template {which}; GET /v1/templates lists them"
            )
        return found

    def save(self, template: Template, *, known: Template | None) -> Template:
        """Keep a template as a new version; what equals the newest makes none.

        Args:
            template: Its version is not looked at.
            known: The newest version as its sender knows it, None if there is none.

        Returns:
            The template with its version.

        Raises:
            JobStateError: Another version was saved meanwhile.
        """
        with self._database.write() as connection:
            newest = _find(connection, template.name)
            if newest != known:
                raise _changed_error(template.name)
            if newest is not None and _is_same(newest, template):
                return newest
            last = connection.execute(
                sa.select(sa.func.max(templates.c.version)).where(
                    templates.c.name == template.name
                )
            ).scalar_one()
            saved = template.model_copy(update={"version": (last or 0) + 1})
            try:
                with connection.begin_nested():
                    connection.execute(
                        templates.insert().values(
                            name=saved.name,
                            version=saved.version,
                            document=saved.model_dump(mode="json"),
                            created_at=self._database.time(connection),
                        )
                    )
            except IntegrityError:  # another process saved one at this very moment
                raise _changed_error(template.name) from None
        return saved

    def delete(self, name: str) -> None:
        """Delete all versions of a template; jobs keep their copies.

        Raises:
            JobNotFoundError: There is none.
        """
        with self._database.write() as connection:
            deleted = connection.execute(
                templates.update()
                .where(templates.c.name == name, templates.c.document.is_not(None))
                .values(document=None)
            ).rowcount
        if not deleted:
            raise JobNotFoundError(f"there is no template {name}")


def _find(
    connection: Connection, name: str, version: int | None = None
) -> Template | None:
    query = (
        sa.select(templates.c.document)
        .where(templates.c.name == name)
        .order_by(templates.c.version.desc())
        .limit(1)
    )
    if version is not None:
        query = query.where(templates.c.version == version)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else Template.model_validate(found)


def _is_same(one: Template, other: Template) -> bool:
    return one == other.model_copy(update={"version": one.version})


def _changed_error(name: str) -> JobStateError:
    return JobStateError(
        f"template {name} was changed by someone else meanwhile; read it again"
    )
