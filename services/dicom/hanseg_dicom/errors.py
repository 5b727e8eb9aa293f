"""What Orthanc may answer besides success.

HansegError
 ├─ ServiceUnavailableError
 │   ├─ OrthancUnavailableError  no Orthanc answers
 │   │   └─ OrthancAccessError   it refuses the bridge's user or password
 │   └─ OrthancFaultError        it fails at one thing, such as a damaged file
 ├─ OrthancRefusedError          it does not do what it is asked
 └─ NotInOrthancError            it does not have what it is asked for
"""

from __future__ import annotations

from hanseg_shared.errors import HansegError, ServiceUnavailableError


class OrthancUnavailableError(ServiceUnavailableError):
    """Orthanc does not answer."""


class OrthancAccessError(OrthancUnavailableError):
    """Orthanc refuses the bridge's user or password."""


class OrthancFaultError(ServiceUnavailableError):
    """Orthanc fails at one thing, and may well do others."""


class OrthancRefusedError(HansegError):
    """Orthanc does not do what it is asked to do."""


class NotInOrthancError(HansegError):
    """Orthanc does not have, or no longer has, what it is asked for."""
