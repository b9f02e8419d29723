"""Requests to addresses that a tenant named: bounded, and never to our own network.

The name is resolved once and the connection goes to the address that was looked at,
so a name that answers otherwise the second time gains nothing. No redirect is
followed, and no proxy of the environment is used.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

TIME_MAX_S: Final = 10.0
READ_MAX: Final = 65_536
URL_MAX: Final = 500
# Networks that ipaddress calls global, and that lead to a cloud's own services or
# carry an address of another family inside.
_REFUSED: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's wire server.
        "192.0.0.0/24",  # Of protocols; in it a cloud's metadata.
        "192.88.99.0/24",  # 6to4 relays.
        "64:ff9b::/96",  # NAT64.
        "64:ff9b:1::/48",
        "2002::/16",  # 6to4.
        "2001::/32",  # Teredo.
        "::/96",  # IPv4-compatible.
    )
)
_tls = ssl.create_default_context()


class AddressRefused(Exception):
    """The address must not be called; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, or why nothing did (status None, error says it)."""

    status: int | None
    took_ms: int
    error: str = ""

    @property
    def is_taken(self) -> bool:
        """Whether the receiver took the message."""
        return self.status is not None and 200 <= self.status < 300


def check_url(url: str, *, allow_private: bool) -> urllib.parse.SplitResult:
    """Return the parts of an address that may be called.

    https only, unless private addresses are allowed; no user, no fragment. Raises
    AddressRefused.
    """
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise AddressRefused(
            f"An address has at most {URL_MAX} ASCII characters and no spaces."
        )
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefused("This is no address.") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parts.scheme not in schemes:
        raise AddressRefused(f"An address begins with {schemes[0]}://.")
    if not parts.hostname or port == 0:
        raise AddressRefused("The address names no host.")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("An address has no user and no password.")
    if parts.fragment:
        raise AddressRefused("An address has no # part.")
    return parts


def refusal(address: str) -> str:
    """Return why an IP address must not be called; empty: it may."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    if mapped is not None:
        found = mapped
    if (
        not found.is_global
        or found.is_multicast
        or found.is_reserved
        or any(found in net for net in _REFUSED if net.version == found.version)
    ):
        return f"{found} is not a public address."
    return ""


def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """Return the address of a host; all that it has are looked at.

    Raises AddressRefused when it has none, or any that must not be called.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"{host} has no address.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private:
        for address in addresses:
            if why := refusal(address):
                raise AddressRefused(f"{host} is refused: {why}")
    return addresses[0]


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was looked at, under the host's name."""

    def __init__(self, host: str, port: int, *, address: str, tls: bool) -> None:
        super().__init__(host, port, timeout=TIME_MAX_S)
        self._address, self._use_tls = address, tls
        self.default_port = 443 if tls else 80

    def connect(self) -> None:
        """Open the connection; the certificate must be the host's."""
        where = (self._address, self.port)
        self.sock = socket.create_connection(where, self.timeout)
        if self._use_tls:
            self.sock = _tls.wrap_socket(self.sock, server_hostname=self.host)


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool
) -> Answer:
    """Post a body once and return what came of it; never raises for the receiver.

    At most TIME_MAX_S in all, whoever drips; at most READ_MAX bytes of the answer are
    read, and thrown away.
    """
    began = time.monotonic()

    def answer(status: int | None, error: str = "") -> Answer:
        return Answer(status, round((time.monotonic() - began) * 1000), error)

    try:
        parts = check_url(url, allow_private=allow_private)
        assert parts.hostname is not None
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        address = resolve(parts.hostname, port, allow_private=allow_private)
    except AddressRefused as refused:
        return answer(None, str(refused))
    link = _Pinned(parts.hostname, port, address=address, tls=tls)
    late = threading.Event()
    # Each read has its own time limit; one that drips would never meet it.
    watch = threading.Timer(TIME_MAX_S, _cut, [link, late])
    watch.daemon = True
    watch.start()
    try:
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        link.request("POST", target, body, dict(headers))
        given = link.getresponse()
        if late.is_set():  # The cut looks like an end of the headers.
            raise TimeoutError
        # The status says it all; who is slow with the rest is not waited for.
        with contextlib.suppress(OSError, http.client.HTTPException):
            given.read(READ_MAX)
        return answer(given.status)
    except (OSError, http.client.HTTPException, ValueError) as error:
        slow = late.is_set() or isinstance(error, TimeoutError)
        why = f"no answer within {TIME_MAX_S:.0f} s" if slow else _words(error)
        return answer(None, why)
    finally:
        watch.cancel()
        link.close()


def _cut(link: Any, late: threading.Event) -> None:
    """End a connection that took all its time."""
    late.set()
    if link.sock is not None:
        try:
            link.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _words(error: Exception) -> str:
    """Say what went wrong without anything that the receiver sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, http.client.HTTPException):
        return "the answer is no HTTP"
    return f"the connection broke ({type(error).__name__})"
