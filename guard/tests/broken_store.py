"""A store that accepts connections and is no use: silent, or answering errors."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n")
# A server in trouble still greets.
GREETINGS = {
    b"HELLO": b"%1\r\n+proto\r\n:3\r\n",
    b"CLIENT": b"+OK\r\n",
    b"SELECT": b"+OK\r\n",
}


class BrokenStore:
    """A unix socket that greets and then answers with the same bytes, or never."""

    def __init__(self, path: Path, reply: bytes | None) -> None:
        self.url = f"unix://{path}"
        self.messages = 0
        self._reply = reply
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(
                    target=self._serve, args=(connection,), daemon=True
                ).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while words := connection.recv(65536):
                self.messages += 1
                if self._reply is not None:
                    for command in COMMAND.findall(words):
                        connection.sendall(GREETINGS.get(command, self._reply))

    def close(self) -> None:
        """Cut every connection and listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()


@contextlib.contextmanager
def broken_store(folder: Path, reply: bytes | None) -> Iterator[BrokenStore]:
    """Yield a broken store on a socket in the folder."""
    store = BrokenStore(folder / "broken.sock", reply)
    try:
        yield store
    finally:
        store.close()
