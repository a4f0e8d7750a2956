"""Exit codes: those of sysexits.h, so that scripts can tell what went wrong, and which error leads to which."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from postroom.config.certificate import CertificateUnusable
from postroom.config.loading import ConfigErrors
from postroom.model import errors
from postroom.store.directory import EntryExists, NoSuchEntry


class Exit(IntEnum):
    """What a command's exit code means; the texts are in ``MEANINGS``."""

    OK = 0
    FOUND = 1
    USAGE = 64
    DATA = 65
    NO_INPUT = 66
    NO_ENTRY = 67
    UNAVAILABLE = 69
    SOFTWARE = 70
    SYSTEM = 71
    EXISTS = 73
    IO = 74
    TRY_AGAIN = 75
    NOT_ALLOWED = 77
    CONFIG = 78
    INTERRUPTED = 130


MEANINGS: Final[dict[Exit, str]] = {
    Exit.OK: "It was done.",
    Exit.FOUND: "It was done, and there is something to look at: `fsck` found damage, an import left messages out, nothing "
    "is running.",
    Exit.USAGE: "The command line is wrong.",
    Exit.DATA: "A name, a password or a file's content is not acceptable.",
    Exit.NO_INPUT: "A file to read does not exist or cannot be read.",
    Exit.NO_ENTRY: "No such domain, account, alias or mailbox.",
    Exit.UNAVAILABLE: "The store or a service cannot answer.",
    Exit.SOFTWARE: "A bug in postroom.",
    Exit.SYSTEM: "The system refused something, such as a port that is taken.",
    Exit.EXISTS: "It exists already.",
    Exit.IO: "Reading or writing failed.",
    Exit.TRY_AGAIN: "Not now: another postroom works on the data directory.",
    Exit.NOT_ALLOWED: "Not permitted, or refused because of what it would break.",
    Exit.CONFIG: "The configuration has mistakes, or there is none.",
    Exit.INTERRUPTED: "Interrupted by Ctrl-C.",
}

_EXITS: Final[tuple[tuple[type[Exception], Exit], ...]] = (
    (ConfigErrors, Exit.CONFIG),
    (CertificateUnusable, Exit.CONFIG),
    (NoSuchEntry, Exit.NO_ENTRY),
    (EntryExists, Exit.EXISTS),
    (errors.NoSuchMailbox, Exit.NO_ENTRY),
    (errors.NoSuchRecipient, Exit.NO_ENTRY),
    (errors.MailboxExists, Exit.EXISTS),
    (errors.UseAttributeTaken, Exit.EXISTS),
    (errors.InvalidName, Exit.DATA),
    (errors.NotAllowed, Exit.NOT_ALLOWED),
    (errors.MailboxHasChildren, Exit.NOT_ALLOWED),
    (errors.InUse, Exit.TRY_AGAIN),
    (errors.Corrupt, Exit.DATA),
    (errors.Unavailable, Exit.UNAVAILABLE),
    (errors.PostroomError, Exit.UNAVAILABLE),
    (FileNotFoundError, Exit.NO_INPUT),
    (PermissionError, Exit.NOT_ALLOWED),
    (OSError, Exit.IO),
)


class Failed(Exception):
    """A command cannot do what it was asked; the text is for the person who asked."""

    def __init__(self, message: str, code: Exit = Exit.DATA, hint: str = "") -> None:
        self.message = message
        self.code = code
        self.hint = hint
        super().__init__(message)


def exit_for(error: Exception) -> Exit | None:
    """The exit code for an error that is foreseen, None for a bug."""
    if isinstance(error, Failed):
        return error.code
    named = getattr(
        type(error), "exit_code", None
    )  # errors of layers that the table cannot name without importing them
    if named is not None:
        return Exit(named)
    for kind, code in _EXITS:
        if isinstance(error, kind):
            return code
    return None
