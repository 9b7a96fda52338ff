"""Every error that users of this package meet, as one tree; the emulator's process has errors of its own.

GptImgError
├── UsageError                 something to mend before anything is sent; costs nothing (exit 2)
│   ├── MissingKeyError        no fal key
│   ├── KeyRejectedError       fal does not know the key (401)
│   ├── UnreachableError       fal cannot be reached
│   ├── ArgumentsError         wrong model inputs, by fal's field names
│   ├── ImageReferenceError    a reference image is not allowed, not there, or no image
│   ├── TableError             invalid rows, all at once
│   ├── OriginError            the dataset belongs to another origin (fal, or another emulator)
│   └── RebuyError             many existing images would be bought again without permission
├── StoreError                 the store cannot be used (exit 5; exit 2 while nothing was sent)
│   ├── UnreadableError        an object is there and cannot be read; never "nothing there"
│   └── TemporaryError         this machine has no room for temporary files (exit 5)
├── FalError
│   ├── SubmitError            a POST that brought no request id: this is the line that matters for money
│   │   ├── NotSentError       it provably never reached fal: may be sent again
│   │   ├── RejectedError      fal itself refused it: no request exists: may be sent again
│   │   │   └── AccountLockedError   403: stops the run (exit 5)
│   │   └── AmbiguousSubmitError     everything else: may be a paid request: NEVER sent again by itself
│   ├── RequestFailedError     a request of an ad-hoc call ended with an error of fal's
│   └── ReadError              a read (status, result, history, download) failed; reads are free and repeated
│       └── GoneError          404: fal or its CDN does not have it (any more)
└── ImageError                 what came is no image, or one that is not decoded here
    └── IncompleteImageError   its own bytes prove that some are missing or were changed: it is fetched again
"""

from __future__ import annotations

from dataclasses import dataclass

from dagster_gptimg.base.plain_text import plain, plain_lines


class GptImgError(Exception):
    """The base of all errors of this package; the message says what happened and what to do.

    Whatever the message repeats of a table, of fal or of a file system, it prints as it is: no control characters, no
    secrets.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(plain_lines(message))


class UsageError(GptImgError):
    """An error to correct before anything is sent. Nothing was bought."""


class MissingKeyError(UsageError):
    """No fal key was given."""


class KeyRejectedError(UsageError):
    """fal does not know the key (HTTP 401)."""


class UnreachableError(UsageError):
    """fal cannot be reached from here (DNS, connect, TLS)."""


class ArgumentsError(UsageError):
    """Model inputs that fal would refuse; nothing was sent.

    Attributes:
        problems: (field, reason) pairs in fal's own field names.
    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{field}: {reason}" for field, reason in problems))


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One thing that is wrong with one row of a prompt table.

    Attributes:
        source: the table, as the user named it.
        line: 1-based line in a text file, or 1-based row number elsewhere (the header of a CSV is line 1).
        column: the column, or None when the row as a whole is meant.
        reason: what is wrong, and what would be right.
    """

    source: str
    line: int
    column: str | None
    reason: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}"
        return plain(f"{where}: {self.column[:80]!r}: {self.reason}" if self.column else f"{where}: {self.reason}")


class TableError(UsageError):
    """The prompt table cannot be used; nothing was sent.

    Attributes:
        problems: every invalid row, in table order. Empty when the table as a whole is at fault.
    """

    def __init__(self, message: str, problems: list[RowProblem] | None = None) -> None:
        self.problems = problems or []
        super().__init__(message)


class ImageReferenceError(UsageError):
    """A reference image cannot be used: it is not allowed, does not exist, or is not an image."""


class OriginError(UsageError):
    """The dataset belongs to another origin: fal, or a certain emulator."""


class RebuyError(UsageError):
    """A changed template, model or argument would buy many existing images again, without explicit permission."""


class StoreError(GptImgError):
    """The store cannot be used: no write access, disk full, a failing service."""


class UnreadableError(StoreError):
    """An object exists but cannot be read. It never counts as missing, and is never bought again."""


class TemporaryError(StoreError):
    """The machine's folder for temporary files is missing or full. This says nothing about the store or a table."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"this machine has no room for temporary files: {why}. Requests sent to fal are on record, and nothing is "
            "bought without room: free some space, or name another folder in TMPDIR, and run again"
        )


class FalError(GptImgError):
    """fal answered with an error, or not at all."""


class SubmitError(FalError):
    """A submit that brought no request id.

    Attributes:
        status_code: the HTTP status of the answer; None when there was none.
    """

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        self.status_code = status_code
        super().__init__(message)


class NotSentError(SubmitError):
    """The POST provably never reached fal (DNS, connect or pool failure). It may be sent again."""


class RejectedError(SubmitError):
    """fal itself rejected the POST; no request exists. It may be sent again once the cause is gone.

    Attributes:
        retry_after: seconds that fal asked us to wait, if it did.
    """

    def __init__(self, message: str, *, status_code: int, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, status_code=status_code)


class AccountLockedError(RejectedError):
    """fal has locked the account (403), mostly for an exhausted balance. The run stops."""


class AmbiguousSubmitError(SubmitError):
    """Whether fal has the request is not known. Sending it again could be a second purchase."""


class RequestFailedError(FalError):
    """A request ended with an error of fal's own.

    Attributes:
        status_code: 422 a refusal (may be billed); 500 and above are never billed.
        error_type: fal's machine-readable type.
        request_id: the request.
    """

    def __init__(self, message: str, status_code: int, error_type: str, request_id: str) -> None:
        self.status_code, self.error_type, self.request_id = status_code, error_type, request_id
        super().__init__(f"request {request_id} ended with {error_type} (HTTP {status_code}): {message}")


class ReadError(FalError):
    """A read failed. It says nothing about the request: reads are free, and are repeated.

    Attributes:
        status_code: the HTTP status of the answer; None when there was none.
    """

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        self.status_code = status_code
        super().__init__(message)


class WebhookError(FalError):
    """A webhook that fal did not send, or not just now. It is ignored."""


class GoneError(ReadError):
    """fal, or its CDN, answered 404: it does not have the object (any more)."""


class ImageError(GptImgError):
    """The bytes are not an image (empty, an error page), or an image of a kind that is not decoded.

    That one is kept.
    """


class IncompleteImageError(ImageError):
    """The bytes of an image show that some are missing or were changed in transit, or suggest it.

    Attributes:
        sha256: of the bytes: they are accepted if they are received identically several times.
        is_proven: False if fal names an image format, but the bytes are of no known format.
    """

    def __init__(self, message: str, sha256: str, *, is_proven: bool = True) -> None:
        self.sha256, self.is_proven = sha256, is_proven
        super().__init__(message)
