"""Every error the product raises on purpose, and what a caller is told.

HansegError
 ├─ InputError                  the caller's files or values are at fault
 │   ├─ ImageError              an image cannot be used as it is
 │   │   ├─ NotAnImageError     no reader knows the file
 │   │   │   └─ NoSuchFileError there is no file at its path
 │   │   ├─ UnsafeImageError    the header points outside its own file
 │   │   ├─ ImageTooLargeError  more voxels or bytes than the caps allow
 │   │   ├─ CheckDiedError      looking at it took too much, or crashed
 │   │   └─ ImageContentError   readable, but not what the role asks for
 │   ├─ GridMismatchError       two volumes that should share a grid do not
 │   └─ OptionError             an option has no such value
 ├─ ModelError                  a model package is missing, damaged or unfit
 ├─ RegistrationError           a registration could not be computed
 ├─ ProcessLostError            a process was killed or had too little memory
 ├─ JobError                    a job cannot do what was asked of it
 │   ├─ JobNotFoundError
 │   ├─ JobStateError           the job's state does not allow it
 │   │   └─ TooManyWebhooksError one caller has as many webhooks as it may
 │   ├─ JobCancelledError       the job was cancelled while it was worked on
 │   └─ LeaseLostError          another worker owns the job now
 ├─ OutputError                 a written result does not say what it should
 ├─ StoreError                  a payload is missing or does not match its hash
 └─ ServiceUnavailableError     no service, broker, database or disk to work with
     ├─ DiskFullError           too little room on the service's disk
     ├─ StoreRefusedError       the payload store does not let the service in
     ├─ TooManyJobsError        one caller has as many unfinished jobs as it may
     └─ TooManyUploadsError     one caller has announced as many uploads as it may

Each takes one message, so that it survives a pickle and a trip through a queue.
"""

LONGEST_MESSAGE = 10_000
"""A message that repeats a file's own words may be of any length; it is cut to this."""


class HansegError(Exception):
    """Base of every error raised on purpose; `str()` is fit for the user.

    A message may repeat words of a file. What would not be seen in it, such as control
    characters and marks that turn the direction of writing, is spelt out.

    Attributes:
        problem_type: Of the service's problem that it stands for, a URI of
            RFC 9457; empty where no service said it.
    """

    problem_type: str = ""

    def __init__(self, message: str) -> None:
        message = _make_visible(message)
        super().__init__(message)
        self.message = message


class InputError(HansegError):
    """The caller's files or values are at fault; nothing was changed."""


class ImageError(InputError):
    """An image cannot be used as it is."""


class NotAnImageError(ImageError):
    """No reader recognises the file as an image."""


class NoSuchFileError(NotAnImageError):
    """There is no file at the image's path."""


class UnsafeImageError(ImageError):
    """The image's header names data outside the file itself."""


class ImageTooLargeError(ImageError):
    """The image has more voxels, or takes more bytes, than the caps allow."""


class CheckDiedError(ImageError):
    """Looking at the image took too much time or memory, or crashed."""


class ImageContentError(ImageError):
    """The image can be read, but is not what its role (CT, MR, mask) asks for."""


class GridMismatchError(InputError):
    """Two volumes that should lie on one grid do not."""


class OptionError(InputError):
    """An option has no such value."""


class ModelError(HansegError):
    """A model package is missing, damaged or unfit for this version."""


class RegistrationError(HansegError):
    """A registration could not be computed at all."""


class ProcessLostError(HansegError):
    """A process was killed or had too little memory; the images are not at fault."""


class JobError(HansegError):
    """A job cannot do what was asked of it."""


class JobNotFoundError(JobError):
    """What was asked for is not there, or is somebody else's: a job or any other thing.

    Others are batches, uploads, templates, webhooks and result files.
    """


class JobStateError(JobError):
    """The job's state does not allow what was asked."""


class TooManyWebhooksError(JobStateError):
    """The caller has as many webhooks as one caller may."""


class JobCancelledError(JobError):
    """The job was cancelled while it was being worked on."""


class LeaseLostError(JobError):
    """The lease ran out and the job belongs to another worker now."""


class OutputError(HansegError):
    """A result that was written does not read back as what it should say."""


class StoreError(HansegError):
    """A payload is missing, or its bytes do not match its hash."""


class ServiceUnavailableError(HansegError):
    """There is no service, broker, database or disk space to work with."""


class DiskFullError(ServiceUnavailableError):
    """There is too little room on the service's disk for what was sent."""


class StoreRefusedError(ServiceUnavailableError):
    """The payload store does not let the service in; waiting is no remedy."""


class TooManyJobsError(ServiceUnavailableError):
    """The caller has as many unfinished jobs as one caller may."""


class TooManyUploadsError(ServiceUnavailableError):
    """The caller has announced as many uploads as one caller may, and not sent them."""


def _make_visible(message: str) -> str:
    """Return a message as one printable text of bounded length."""
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[: LONGEST_MESSAGE - 4]} ..."
    if message.isprintable():
        return message
    return "".join(
        each if each.isprintable() or each == "\n" else ascii(each)[1:-1]
        for each in message
    )
