"""Whether a result is fetched from the object store itself, and at which address.

The address opens one file to whoever has it, so it is given to the job's owner alone,
for some seconds, where the site allows it. The request is audited as any download is.
"""

from __future__ import annotations

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.headers import attachment
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.documents import ResultFile
from hanseg_shared.jobs.record import Job
from hanseg_shared.settings import Settings

LEAST_BYTES = 1 << 20
"""A smaller file is sent sooner than a second request is made for it."""


def may_redirect(
    settings: Settings, principal: Principal, job: Job, file: ResultFile
) -> bool:
    """Whether a caller may be given an address of the store.

    Neither is a browser that is signed in, since the page reaches no other host, nor
    who needs no key.
    """
    return (
        settings.store_redirect_seconds > 0
        and file.bytes >= LEAST_BYTES
        and principal.owner == job.owned_by
        and principal.is_known
        and principal.session_id is None
    )


def sign_download(context: Context, job_id: str, file: ResultFile) -> str | None:
    """Return an address at which the store sends a file; None if it has none to give.

    Raises:
        ServiceUnavailableError: The store does not work.
    """
    services = context.services
    return services.store.sign(
        job_id,
        file.sha256,
        seconds=services.settings.store_redirect_seconds,
        ResponseContentDisposition=attachment(file.name),
        ResponseContentType=file.media_type,
        ResponseCacheControl="private, no-store",
    )
