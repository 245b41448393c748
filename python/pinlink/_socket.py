"""Sockets for protocols that are not HTTP: real ones, which count against the caps until they are closed."""

from __future__ import annotations

import socket
import ssl
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    from ._pinlink import Place


class Socket(socket.socket):
    """A connected TCP socket, whose connection counts until it is closed."""

    _place: Any = None

    def _real_close(self, *arguments: Any) -> None:
        super()._real_close(*arguments)  # type: ignore[misc]
        if self._place is not None:
            self._place.close()


class SecureSocket(ssl.SSLSocket):
    """The same under TLS."""

    _place: Any = None

    def _real_close(self) -> None:
        super()._real_close()  # type: ignore[misc]
        if self._place is not None:
            self._place.close()


def connected(
    place: Place, host: str, tls: Union[bool, ssl.SSLContext], timeout: float
) -> Union[Socket, ssl.SSLSocket]:
    """The socket of a place that was taken. TLS is Python's own: the certificate is verified for ``host``."""
    plain = Socket(fileno=place.fileno())
    plain._place = place
    try:
        # The client waits in slices; whoever has this socket waits as Python does.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            plain.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", 0, 0))
        plain.settimeout(timeout)
        if tls is False:
            return plain
        context = ssl.create_default_context() if tls is True else tls
        usual = context.sslsocket_class
        context.sslsocket_class = SecureSocket
        try:
            secure = context.wrap_socket(plain, server_hostname=host)
        finally:
            context.sslsocket_class = usual
        secure._place = place  # type: ignore[attr-defined]
        return secure
    except BaseException:
        plain.close()
        place.close()
        raise
