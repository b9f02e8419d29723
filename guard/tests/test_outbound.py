"""Where webhooks may go, and how long and how much they take."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from guard import outbound
from guard.outbound import AddressRefused
from guard.tests.receiver import receiver

REFUSED = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # The metadata of most clouds.
    "168.63.129.16",
    "100.64.0.1",  # Shared by carriers; 100.100.100.200 is a cloud's metadata.
    "100.100.100.200",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:1::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
]
ALLOWED = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111"]
BAD_URLS = [
    "http://example.com/hook",
    "ftp://example.com/hook",
    "https://",
    "https:///hook",
    "https://user:password@example.com/hook",
    "https://example.com/hook#part",
    "https://example.com:0/hook",
    "https://example.com:99999/hook",
    "https://exa mple.com/",
    "https://example.com/\r\nX-Injected: yes",
    "https://exämple.com/",
    f"https://example.com/{'a' * 500}",
    "no address",
    "",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_refused(address: str):
    assert outbound.refusal(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_pass(address: str):
    assert outbound.refusal(address) == ""


@pytest.mark.parametrize("url", BAD_URLS)
def test_urls_that_are_refused(url: str):
    with pytest.raises(AddressRefused):
        outbound.check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "2130706433", "0x7f000001", "127.1", "[::1]"],
)
def test_every_spelling_of_this_machine_is_refused_without_a_connection(host: str):
    with receiver() as there:
        port = there.url.split(":")[2].split("/")[0]
        answer = outbound.post(
            f"https://{host}:{port}/", b"{}", {}, allow_private=False
        )
    assert answer.status is None
    assert "refused" in answer.error or "no address" in answer.error
    assert there.got == []


def test_a_name_is_asked_once_and_that_answer_is_called(
    monkeypatch: pytest.MonkeyPatch,
):
    """A name that turns to this machine after the look gains nothing."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebind.test":
            return real(host, *args, **kwargs)
        asked.append(host)
        where = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(where, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with receiver() as there:
        url = there.url.replace("127.0.0.1", "rebind.test")
        answer = outbound.post(url, b"{}", {}, allow_private=True)
    assert answer.status == 200
    assert asked == ["rebind.test"]
    assert there.got[0][0]["host"].startswith("rebind.test:")


def test_one_private_address_among_public_ones_is_refused(
    monkeypatch: pytest.MonkeyPatch,
):
    entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")

    def mixed(*_: Any, **__: Any) -> Any:
        return [(*entry, ("8.8.8.8", 443)), (*entry, ("10.0.0.1", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
        outbound.resolve("mixed.test", 443, allow_private=False)


def test_a_redirect_is_not_followed():
    with receiver() as other, receiver(status=302, location=other.url) as there:
        answer = outbound.post(there.url, b"{}", {}, allow_private=True)
    assert answer.status == 302
    assert not answer.is_taken
    assert other.got == []


@pytest.mark.parametrize("way", [{"hang_s": 30}, {"drips": True}])
def test_who_is_slow_is_cut_off(way: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbound, "TIME_MAX_S", 0.5)
    with receiver(**way) as there:
        began = time.monotonic()
        answer = outbound.post(there.url, b"{}", {}, allow_private=True)
        took = time.monotonic() - began
    assert answer.status is None
    assert "no answer within" in answer.error
    assert took < 5


def test_a_large_answer_is_not_read():
    with receiver(big=500_000_000) as there:
        began = time.monotonic()
        answer = outbound.post(there.url, b"{}", {}, allow_private=True)
    assert answer.status == 200
    assert time.monotonic() - began < 5


def test_who_does_not_listen_is_told_in_words():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        answer = outbound.post(
            f"http://127.0.0.1:{port}/", b"{}", {}, allow_private=True
        )
    assert answer.error == "the connection was refused"
