"""Which template a submission names: the one that ships, a site's own, or its own."""

from __future__ import annotations

from hanseg_segmentation.api.intake.received import Submission
from hanseg_shared.dicom.template import DEFAULT_TEMPLATE, Template
from hanseg_shared.dicom.templates import SHIPPED, require_usable, shipped_template
from hanseg_shared.errors import JobNotFoundError, OptionError
from hanseg_shared.jobs.tables.tables import Tables


def choose_template(tables: Tables, submission: Submission) -> Template:
    """Return the template that a job's structure set has.

    Raises:
        OptionError: There is none of that name and version, it names organs that do
            not exist, or two templates were given.
    """
    named = submission.options.template
    if submission.template is None:
        return find_template(tables, named)
    if named not in {DEFAULT_TEMPLATE, submission.template.name}:
        raise OptionError(
            f"template_document is called {submission.template.name!r} and "
            f"options.template names {named!r}; send one of both"
        )
    require_usable(submission.template)
    return submission.template


def find_template(tables: Tables, named: str) -> Template:
    """Return the template that ``name`` or ``name@version`` names.

    Raises:
        OptionError: There is none.
    """
    name, _, version = named.partition("@")
    if name in SHIPPED:
        shipped = shipped_template(name)
        if version and int(version) != shipped.version:
            raise OptionError(
                f"there is no template {named}; this version of the service has "
                f"{name}@{shipped.version}"
            )
        return shipped
    try:
        return tables.templates.get(name, int(version) if version else None)
    except JobNotFoundError as error:
        raise OptionError(error.message) from None
