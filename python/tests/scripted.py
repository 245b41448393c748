"""A server of a few lines, for what no honest server does."""

import socket
import struct
import threading


class Scripted:
    """Serves one connection after the other by ``serve(connection, file)``; ``close`` ends the listening."""

    def __init__(self, serve):
        self._serve = serve
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def options(self, **options):
        """The options of a client that reaches it as ``svc.test``."""
        reach = {"hosts": self.url(""), "pins": {"svc.test": "127.0.0.1"}, "allow_addresses": "127.0.0.0/8"}
        return {**reach, **options}

    def url(self, path="/"):
        return f"http://svc.test:{self.port}{path}"

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                self._serve(connection, file)

    def stop(self):
        """Listens no more."""
        # What is blocked in `accept` is woken.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if self._listener.fileno() != -1:
            self.stop()
        self._thread.join(10)


def request_of(file):
    """Reads a request with a length; its first line and its body, or nothing where there is none."""
    first = file.readline()
    length = 0
    if not first:
        return None
    for line in iter(file.readline, b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return first, file.read(length)


class ResetOnce(Scripted):
    """Reads one request, resets the connection, and is not there any more."""

    def __init__(self):
        super().__init__(self.serve)

    def serve(self, connection, file):
        request_of(file)
        self.stop()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
