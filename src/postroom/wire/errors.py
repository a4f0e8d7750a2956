"""Errors of the wire layer.

ParseError stays inside ``wire``: an engine turns it into the protocol's own reply (server) or into RemoteProtocolError
(client). LocalProtocolError means our own side asked for something the state does not allow: a bug of the caller.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of what leaves the wire layer."""


class LocalProtocolError(ProtocolError):
    """Our side tried something the protocol's state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; the connection cannot go on."""


class ParseError(Exception):
    """Input does not match the grammar; ``position`` is the offset in the line or command where it was noticed."""

    def __init__(self, message: str, position: int = 0) -> None:
        self.position = position
        super().__init__(message)
