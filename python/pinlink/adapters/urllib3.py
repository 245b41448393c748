"""pinlink beneath `urllib3`, and so beneath what takes a `urllib3.PoolManager`.

http = PoolManager(hosts=["https://kms.example"], max_connections=8)
http.request("GET", "https://kms.example/keys/7")
"""

from __future__ import annotations

import http.client
import ssl
import sys
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    EmptyPoolError,
    HostChangedError,
    HTTPError,
    InvalidHeader,
    LocationValueError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Retry, Timeout
from urllib3.util.request import SKIP_HEADER, set_file_position

import pinlink

from ._clients import OWNED, Clients

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

    _Retries = Union[Retry, bool, int, None]

# Of urllib3's own arguments those that say how to trust and identify; the rest are options of the client.
_TLS = frozenset(["ca_certs", "cert_reqs", "cert_file", "key_file"])
_UNSET: Any = object()


class Body:
    """What urllib3 reads an answer from: its errors are urllib3's."""

    def __init__(self, reader: pinlink.Reader) -> None:
        """Read this answer."""
        self._reader = reader

    def read(self, size: Optional[int] = None) -> bytes:
        """Read so many bytes, fewer at the end only; all without a size."""
        if size is None or size < 0:
            return self._guarded(self._reader.readall)
        first = self._guarded(self._reader.read, size)
        if len(first) == size or not first:
            return first
        pieces = [first]
        left = size - len(first)
        while left > 0:
            piece = self._guarded(self._reader.read, left)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def read1(self, size: int = -1) -> bytes:
        """Read what is there, up to so many bytes."""
        return self._guarded(self._reader.read, size if size >= 0 else 65536)

    @staticmethod
    def _guarded(read: Any, *size: int) -> bytes:
        try:
            return read(*size) or b""
        except pinlink.TimeoutError as error:
            raise ReadTimeoutError(None, "", str(error)) from error  # type: ignore[arg-type]
        except pinlink.Error as error:
            raise ProtocolError(str(error), error) from error

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._reader.closed

    def close(self) -> None:
        """Give the connection back."""
        self._reader.close()


def answered(
    reader: pinlink.Reader, method: str, url: str, fields: List[Tuple[str, str]], **rest: Any
) -> urllib3.HTTPResponse:
    """An answer as urllib3 has it."""
    return urllib3.HTTPResponse(
        body=Body(reader),  # type: ignore[arg-type]
        headers=fields,  # type: ignore[arg-type]
        status=reader.status,
        reason=http.client.responses.get(reader.status),
        version=11,
        request_method=method,
        request_url=url,
        **rest,
    )


def timed_out(error: BaseException) -> bool:
    """Whether it was time that ran out: of a write that got no answer, the cause tells."""
    return isinstance(error, pinlink.TimeoutError) or isinstance(error.__cause__, pinlink.TimeoutError)


def beneath(error: pinlink.Error) -> HTTPError:
    """The error as urllib3 has it, by which `Retry` decides."""
    made: HTTPError
    if error.delivery == "not sent":
        kind = ConnectTimeoutError if timed_out(error) else NewConnectionError
        made = kind(None, str(error))  # type: ignore[arg-type]
    elif timed_out(error):
        made = ReadTimeoutError(None, "", str(error))  # type: ignore[arg-type]
    else:
        made = ProtocolError(str(error), error)
    made.__cause__ = error
    return made


def is_doubtful(error: pinlink.Error) -> bool:
    """Whether the request may have had its effect."""
    return error.delivery == "delivery unknown"


def repeats(body: Any, position: Any) -> bool:
    """Whether a body can be sent again: one that is read once would be empty."""
    if body is None or isinstance(body, (bytes, str, bytearray, memoryview)) or isinstance(position, int):
        return True
    return not hasattr(body, "read") and iter(body) is not body


def _translated(error: pinlink.Error, pool: Any) -> HTTPError:
    if error.phase == "queue" and timed_out(error):
        made: HTTPError = EmptyPoolError(pool, str(error))
    elif error.kind == "Config":
        made = InvalidHeader(str(error)) if "header" in str(error) else LocationValueError(str(error))
    elif error.kind == "Tls" and not timed_out(error):
        made = SSLError(str(error))
    elif error.kind == "Proxy" and not timed_out(error):
        made = ProxyError(str(error), error)
    else:
        return beneath(error)
    made.__cause__ = error
    return made


class Pool(urllib3.HTTPConnectionPool):
    """What a :class:`PoolManager` hands out for one origin. The connections are the client's, those of all pools."""

    def __init__(self, manager: PoolManager, scheme: str, host: str, port: Optional[int], context: Dict[str, Any]):
        """Make a pool of this manager's."""
        super().__init__(host, port, maxsize=1, headers=manager.headers, retries=manager._retries)
        self.scheme = scheme
        if port is None:
            self.port = 443 if scheme == "https" else 80
        self._manager = manager
        verify: Union[bool, str] = context.get("ca_certs") or True
        if context.get("cert_reqs") in (ssl.CERT_NONE, "CERT_NONE", "NONE"):
            verify = False
        cert = context.get("cert_file")
        self._identity = (verify, cert and (cert, context.get("key_file")), None)

    def urlopen(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Optional[Mapping[str, str]] = None,
        retries: _Retries = None,
        redirect: bool = True,
        assert_same_host: bool = True,
        timeout: Any = _UNSET,
        pool_timeout: Optional[int] = None,
        release_conn: Optional[bool] = None,
        chunked: bool = False,
        body_pos: Any = None,
        preload_content: bool = True,
        decode_content: bool = True,
        **rest: Any,
    ) -> Any:
        """Send a request, and again as ``retries`` says; raises the exceptions of urllib3."""
        if not isinstance(retries, Retry):
            retries = Retry.from_int(retries, redirect=redirect, default=self.retries)
        if assert_same_host and not self.is_same_host(url):
            raise HostChangedError(self, url, retries)
        whole = url if "://" in url else f"{self.scheme}://{self._authority()}{url}"
        kept = self.headers if headers is None else headers
        position = set_file_position(body, body_pos)
        doubt: Optional[pinlink.Error] = None
        while True:
            try:
                made = self._made(method, whole, body, kept, timeout, chunked)
                reader = self._manager._clients.of(*self._identity).open(made)
                response = answered(
                    reader,
                    method,
                    url,
                    reader.headers.pairs(),
                    preload_content=preload_content,
                    decode_content=decode_content,
                    retries=retries,
                )
            except (pinlink.Error, ReadTimeoutError, ProtocolError) as error:
                failed: HTTPError = error if isinstance(error, HTTPError) else _translated(error, self)
                if isinstance(error, pinlink.Error):
                    if doubt is not None and not is_doubtful(error):
                        # That this try had no effect says nothing of an earlier one.
                        failed = _translated(doubt, self)
                    elif is_doubtful(error):
                        doubt = error
                # Waiting longer for a place, or asking again for what was refused here, would not help.
                hopeless = isinstance(failed, (EmptyPoolError, InvalidHeader, LocationValueError))
                if hopeless or _is_refused(error):
                    raise failed from failed.__cause__
                if retries.total is not False and not repeats(body, position):
                    retries = retries.new(total=0)
                retries = retries.increment(method, url, error=failed, _pool=self, _stacktrace=sys.exc_info()[2])
                retries.sleep()
                position = set_file_position(body, position)
                continue
            location = redirect and response.get_redirect_location()
            if not location and not retries.is_retry(method, response.status, "Retry-After" in response.headers):
                return response
            if location and response.status == 303:
                method, body = "GET", None
            if retries.total is not False and not repeats(body, position):
                retries = retries.new(total=0)
            try:
                retries = retries.increment(method, url, response=response, _pool=self)
            except MaxRetryError:
                if retries.raise_on_redirect if location else retries.raise_on_status:
                    response.drain_conn()
                    raise
                return response
            response.drain_conn()
            if location:
                retries.sleep_for_retry(response)
                return self.urlopen(
                    method,
                    urljoin(whole, location),
                    body,
                    kept,
                    retries,
                    redirect,
                    assert_same_host,
                    timeout,
                    chunked=chunked,
                    body_pos=position,
                    preload_content=preload_content,
                    decode_content=decode_content,
                )
            retries.sleep(response)
            position = set_file_position(body, position)

    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def _made(
        self, method: str, url: str, body: Any, headers: Mapping[str, str], timeout: Any, chunked: bool
    ) -> pinlink.Request:
        kept, length, expects = [], None, False
        for name, value in headers.items():
            lower = name.lower()
            if value == SKIP_HEADER:
                continue
            if lower == "content-length" and not chunked:
                length = int(value)
            elif lower == "expect":
                expects = True
            elif lower == "host" and value not in (self.host, self._authority()):
                raise InvalidHeader("another Host is given by the option host_header")
            if lower not in OWNED:
                kept.append((name, value))
        return pinlink.Request(
            method,
            url,
            headers=kept,
            data=body,
            timeout=_seconds(self._manager._timeout if timeout is _UNSET else timeout),
            length=length,
            expect_continue=expects,
        )

    def close(self) -> None:
        """Forget this pool. The connections are the manager's."""


def _is_refused(error: Exception) -> bool:
    return isinstance(error, pinlink.Error) and error.kind in ("Policy", "Closed", "Canceled")


def _seconds(timeout: Any) -> Optional[float]:
    if not isinstance(timeout, Timeout):
        return timeout  # type: ignore[no-any-return]
    if timeout.total is not None:
        return timeout.total  # type: ignore[return-value]
    parts = [part for part in (timeout.connect_timeout, timeout.read_timeout) if isinstance(part, (int, float))]
    return sum(parts) if len(parts) == 2 else None


class PoolManager(urllib3.PoolManager):
    """A `urllib3.PoolManager`: resolved, pinned, pooled and bounded by pinlink.

    ``timeout=`` bounds a call up to the head of the answer (a `Timeout`: its total, or connect and read together);
    without one the option ``timeout`` does. The body is bounded by ``stall_timeout``, the wait for a connection by
    ``acquire_timeout``. ``ca_certs``, ``cert_reqs``, ``cert_file`` and ``key_file`` of a pool make a client of their
    own, with the same pins.
    """

    def __init__(
        self,
        num_pools: int = 10,
        headers: Optional[Mapping[str, str]] = None,
        *,
        retries: _Retries = None,
        timeout: Any = None,
        **options: Any,
    ) -> None:
        """Make a manager.

        Args:
            num_pools: how many origins' pools are remembered; connections are capped by options.
            headers: sent with every request that has none of its own.
            retries: beyond what the client itself tries again (option ``max_attempts``); urllib3's default is 3.
            timeout: seconds or a `Timeout`, of calls that give none; as an option it can be text.
            options: those of :class:`pinlink.Client`, and ``ca_certs``, ``cert_reqs``, ``cert_file``, ``key_file``.

        Raises:
            pinlink.Error: as :class:`pinlink.Client`.
        """
        tls = {name: options.pop(name) for name in _TLS & set(options)}
        if isinstance(timeout, str):
            options["timeout"], timeout = timeout, None
        super().__init__(num_pools, headers, **tls)
        self._retries, self._timeout = retries, timeout
        self._clients = Clients(options)

    def _new_pool(self, scheme: str, host: str, port: Optional[int], request_context: Any = None) -> Pool:
        return Pool(self, scheme, host, port, self.connection_pool_kw if request_context is None else request_context)

    def clear(self) -> None:
        """Close idle connections. Who calls again gets new ones."""
        super().clear()
        self._clients.close()
