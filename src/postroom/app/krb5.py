"""MIT's libkrb5, as much of it as KPOP needs: to verify an AP-REQ and answer it (RFC 4120 §3.2).

Why not the `gssapi` package: KPOP's tickets are not wrapped for the GSS-API, and no package has ``krb5_rd_req``.

Invariants: everything the library allocates is freed, whatever happens; a library context belongs to one call, so calls may
run in several threads. Replays are noticed by the library's own cache (its place: ``KRB5RCACHENAME``), shared with GSSAPI.

It must not know: protocols, settings, the event loop. Calls block.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from postroom.session.kerberos import Ticket, TicketRefused
from postroom.wire.kpop.messages import GENERIC

_TABLE: Final = -1765328384
"""ERROR_TABLE_BASE_krb5: protocol errors are numbered from here."""
_LIBRARY: Final = "libkrb5.dylib" if sys.platform == "darwin" else "libkrb5.so.3"
_MUTUAL_REQUIRED: Final = 0x20000000
_HOST_SERVICE: Final = 3
_METHOD: Final = 48
"""KRB_AP_ERR_METHOD: another way to authenticate is asked for (RFC 4120 §7.5.9)."""
_WRONG_SERVICE: Final = 35
"""KRB_AP_ERR_NOT_US."""


class LibraryMissing(OSError):
    """libkrb5 is not installed, or not MIT's."""


class _Data(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_int32), ("length", ctypes.c_uint), ("data", ctypes.c_void_p)]


class _Authenticator(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_int32), ("client", ctypes.c_void_p)]


class Krb5:
    """The library; raises LibraryMissing when it is not there."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
            self._library.krb5_get_error_message.restype = ctypes.c_void_p
            self._library.krb5_sname_match  # noqa: B018 - Heimdal has none
        except (OSError, AttributeError) as error:
            raise LibraryMissing(f"MIT's libkrb5 is needed for KPOP: {error}") from error

    def read_request(self, request: bytes, keytab: Path, service: str, host: str) -> Ticket:
        """Verify an AP-REQ for ``service/host`` and make its AP-REP. Blocks. Raises TicketRefused."""
        with ExitStack() as stack:
            return _Call(self._library, stack).read(request, keytab, service, host)


class _Call:
    """One library context and what was made with it."""

    def __init__(self, library: ctypes.CDLL, stack: ExitStack) -> None:
        self._library = library
        self._stack = stack
        self._context = ctypes.c_void_p()
        status = library.krb5_init_context(ctypes.byref(self._context))
        if status:
            raise TicketRefused(f"krb5_init_context: error {status}")
        stack.callback(library.krb5_free_context, self._context)

    def read(self, request: bytes, keytab: Path, service: str, host: str) -> Ticket:
        """See ``Krb5.read_request``."""
        keys = self._made("krb5_kt_resolve", b"FILE:" + bytes(keytab), free="krb5_kt_close")
        name = self._made(
            "krb5_sname_to_principal",
            host.encode(),
            service.encode(),
            _HOST_SERVICE,
            free="krb5_free_principal",
        )
        state = self._made("krb5_auth_con_init", free="krb5_auth_con_free")
        options = ctypes.c_int32()
        octets = ctypes.create_string_buffer(request, len(request))
        taken = _Data(0, len(request), ctypes.cast(octets, ctypes.c_void_p))
        self._call(
            "krb5_rd_req",
            ctypes.byref(state), ctypes.byref(taken), name, keys, ctypes.byref(options), None,
        )  # fmt: skip
        if not options.value & _MUTUAL_REQUIRED:
            raise TicketRefused("the client does not ask who the server is", _METHOD)
        return Ticket(self._client(state), self._reply(state))

    def _client(self, state: ctypes.c_void_p) -> str:
        """The principal of the ticket (the library has compared the authenticator's with it)."""
        found = ctypes.POINTER(_Authenticator)()
        self._call("krb5_auth_con_getauthenticator", state, ctypes.byref(found))
        self._stack.callback(self._library.krb5_free_authenticator, self._context, found)
        text = ctypes.c_char_p()
        self._call("krb5_unparse_name", ctypes.c_void_p(found.contents.client), ctypes.byref(text))
        self._stack.callback(self._library.krb5_free_unparsed_name, self._context, text)
        return (text.value or b"").decode("utf-8", "replace")

    def _reply(self, state: ctypes.c_void_p) -> bytes:
        reply = _Data()
        self._call("krb5_mk_rep", state, ctypes.byref(reply))
        self._stack.callback(self._library.krb5_free_data_contents, self._context, ctypes.byref(reply))
        return ctypes.string_at(reply.data or 0, reply.length) if reply.length else b""

    def _made(self, function: str, *arguments: Any, free: str) -> ctypes.c_void_p:
        """What a function makes by its last argument; freed at the end."""
        made = ctypes.c_void_p()
        self._call(function, *arguments, ctypes.byref(made))
        self._stack.callback(self._freeing(free), self._context, made)
        return made

    def _freeing(self, name: str) -> Callable[..., Any]:
        freeing: Callable[..., Any] = getattr(self._library, name)
        return freeing

    def _call(self, function: str, *arguments: Any) -> None:
        status: int = getattr(self._library, function)(self._context, *arguments)
        if status:
            code = status - _TABLE
            raise TicketRefused(self._message(function, status), code if 0 < code < GENERIC else GENERIC)

    def _message(self, function: str, status: int) -> str:
        text = self._library.krb5_get_error_message(self._context, status)
        try:
            said = ctypes.string_at(text).decode("utf-8", "replace") if text else ""
        finally:
            self._library.krb5_free_error_message(self._context, ctypes.c_void_p(text))
        return f"{function}: {said}"
