"""Talking to the service from Python: submitting cases, following, fetching results.

    with Client("https://contours.example.org", key=KEY) as client:
        job = client.submit(JobRequest(Path("ct.nii.gz"), Path("t1.nii.gz")))
        job = client.wait(job.id)
        client.download(job.id, Path("results"))

`AsyncClient` has the same calls as coroutines. It is what ``hanseg-shared[client]``
installs: no image, network or database library is needed, nor imported.
"""

from hanseg_shared.client.answers import (
    BusyError,
    ConnectionLostError,
    KeyRefusedError,
)
from hanseg_shared.client.async_client import AsyncClient
from hanseg_shared.client.client import Client
from hanseg_shared.client.request import JobRequest
from hanseg_shared.client.steps import ONCE, SOME_TRIES, Retry

__all__ = [
    "ONCE",
    "SOME_TRIES",
    "AsyncClient",
    "BusyError",
    "Client",
    "ConnectionLostError",
    "JobRequest",
    "KeyRefusedError",
    "Retry",
]
