"""An answer that is read while it comes, in constant memory."""

from __future__ import annotations

import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Optional

    from ._headers import Headers
    from ._pinlink import Pieces


class Reader(io.RawIOBase):
    """An answer whose body is read while it comes: a raw binary stream, and an iterable of pieces.

    It holds its connection until the body has ended or it is closed; closed before the end, the connection is closed
    too.
    A body that breaks off raises :class:`Error`, and never ends as if it were whole. Wrap it for lines of text::

        io.TextIOWrapper(io.BufferedReader(client.open(url)), encoding="utf-8")
    """

    def __init__(self, pieces: Pieces) -> None:
        """Read these pieces: made by ``Client.open``."""
        self._pieces = pieces
        self._left = memoryview(b"")

    @property
    def status(self) -> int:
        """The status code, 200 to 599."""
        return self._pieces.status

    @property
    def headers(self) -> Headers:
        """The header fields, by their case-insensitive names."""
        return self._pieces.headers

    @property
    def trailers(self) -> Headers:
        """The fields that came behind the body; none before its end."""
        return self._pieces.trailers

    @property
    def url(self) -> str:
        """The URL that was asked for."""
        return self._pieces.url

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read up to the length of ``buffer`` into it; 0 at the end."""
        if self.closed:
            raise ValueError("the answer was closed")
        if not self._left:
            self._left = memoryview(self._pieces.chunk())
        into = memoryview(buffer).cast("B")
        size = min(len(into), len(self._left))
        into[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def read(self, size: Optional[int] = -1) -> bytes:
        """Read what has come, up to ``size`` bytes, or with none the rest of the body; empty at the end."""
        if size is None or size < 0:
            return self.readall()
        if self.closed:
            raise ValueError("the answer was closed")
        if not self._left and size > 0:
            piece = self._pieces.chunk()
            if len(piece) <= size:
                return piece
            self._left = memoryview(piece)
        read = self._left[:size]
        self._left = self._left[size:]
        return bytes(read)

    def readall(self) -> bytes:
        """Read the rest of the body."""
        return b"".join(self.iter_bytes())

    def iter_bytes(self) -> Iterator[bytes]:
        """Iterate over the pieces as they come, up to 120 KiB each."""
        while True:
            if self.closed:
                # An end would make a body look whole that is not.
                raise ValueError("the answer was closed")
            if self._left:
                piece = bytes(self._left)
                self._left = memoryview(b"")
            else:
                piece = self._pieces.chunk()
            if not piece:
                return
            yield piece

    def close(self) -> None:
        """Give the connection back. Closing again does nothing."""
        if not self.closed:
            super().close()
            self._pieces.close()
