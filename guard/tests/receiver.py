"""A webhook receiver on a real socket, whose answers a test chooses."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came, and what the next ones are answered."""

    url: str = ""
    status: int = 200
    # hang: no answer for so long; drip: a header that never ends; big: bytes.
    hang_s: float = 0
    drips: bool = False
    big: int = 0
    location: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@contextmanager
def receiver(**members: Any) -> Iterator[Receiver]:
    """Yield a receiver that listens on this machine."""
    state = Receiver(**members)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            named = {name.lower(): value for name, value in self.headers.items()}
            state.got.append((named, body))
            time.sleep(state.hang_s)
            try:
                self._reply()
            except OSError:
                return

        def _reply(self) -> None:
            if state.drips:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(600):
                    self.wfile.write(b"a")
                    time.sleep(0.1)
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            self.end_headers()
            sent = 0
            while sent < state.big:
                sent += self.wfile.write(b"x" * 65_536)

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook?from=aforo"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
