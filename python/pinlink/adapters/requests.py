"""pinlink beneath `requests`, and so beneath SDKs that use it.

session = requests.Session()
session.mount("https://", PinlinkAdapter(hosts=["https://oss.example"], max_connections=8))
"""

from __future__ import annotations

import http.client

from requests import exceptions
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import prepend_scheme_if_needed, select_proxy
from urllib3.exceptions import HTTPError, MaxRetryError, ResponseError
from urllib3.util import Retry

import pinlink
from pinlink._pinlink import opened
from pinlink._reader import Reader

from ._clients import OWNED, Clients
from .urllib3 import answered, beneath, is_doubtful, repeats, timed_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Mapping, Optional, Tuple, Type, Union

    from requests import PreparedRequest, Response

_COOKIES = {"set-cookie", "set-cookie2"}
_BEFORE_THE_REQUEST = ("queue", "resolve", "connect", "handshake")


class _Head:
    """What `requests` reads cookies from."""

    def __init__(self, fields: List[Tuple[str, str]]) -> None:
        self.msg = http.client.HTTPMessage()
        for name, value in fields:
            if name in _COOKIES:
                self.msg[name] = value

    def isclosed(self) -> bool:
        return True

    def close(self) -> None:
        pass


class PinlinkAdapter(BaseAdapter):
    """A transport adapter of `requests`: resolved, pinned, pooled and bounded by pinlink.

    ``timeout=`` of a call bounds it up to the head of the answer (a pair: their sum); without one the option
    ``timeout`` does. The body is bounded by ``stall_timeout``. ``verify=``, ``cert=`` and ``proxies=`` other than the
    session's usual make a client of their own, with the same pins.
    """

    def __init__(self, max_retries: Union[int, Retry] = 0, **options: Any) -> None:
        """Make an adapter.

        Args:
            max_retries: as of ``HTTPAdapter``, beyond what the client itself tries again (option ``max_attempts``).
            options: those of :class:`pinlink.Client`.

        Raises:
            pinlink.Error: as :class:`pinlink.Client`.
        """
        super().__init__()
        self.max_retries = max_retries if isinstance(max_retries, Retry) else Retry(max_retries, read=False)
        self._clients = Clients(options)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Union[float, Tuple[Optional[float], Optional[float]], Any, None] = None,
        verify: Union[bool, str] = True,
        cert: Any = None,
        proxies: Optional[Mapping[str, str]] = None,
    ) -> Response:
        """Send a prepared request; raises the exceptions of `requests`, with pinlink's as their cause."""
        url, method = request.url or "", request.method or "GET"
        body: Any = request.body
        position = getattr(request, "_body_position", None)
        doubt: Optional[pinlink.Error] = None
        try:
            proxy = select_proxy(url, proxies) if proxies else None
            proxy = prepend_scheme_if_needed(proxy, "http") if proxy else None  # type: ignore[no-untyped-call]
            client = self._clients.of(verify, tuple(cert) if isinstance(cert, list) else cert, proxy)
        except pinlink.Error as error:
            raise _translated(error, request) from error
        retries = self.max_retries
        while True:
            try:
                pieces = opened(client, self._made(request, method, url, timeout))
            except pinlink.Error as error:
                if doubt is not None and not is_doubtful(error):
                    # That this try had no effect says nothing of an earlier one.
                    raise _translated(doubt, request) from doubt
                doubt = error if is_doubtful(error) else None
                if retries.total is not False and not repeats(body, position):
                    retries = retries.new(total=0)
                try:
                    retries = retries.increment(method, url, error=beneath(error))
                except (MaxRetryError, HTTPError):
                    raise _translated(error, request) from error
                retries.sleep()
                _rewind(body, position)
                continue
            fields = pieces.pairs()
            names = {name for name, _ in fields}
            raw = answered(
                Reader(pieces),
                method,
                url,
                fields,
                preload_content=False,
                decode_content=False,
                # Where there is no cookie nobody shall look for one.
                original_response=_Head(fields) if names & _COOKIES else None,
            )
            if retries.is_retry(method, raw.status, "retry-after" in names):
                if retries.total is not False and not repeats(body, position):
                    retries = retries.new(total=0)
                try:
                    retries = retries.increment(method, url, response=raw)
                except MaxRetryError as error:
                    if retries.raise_on_status:
                        raw.close()
                        kind = exceptions.RetryError if isinstance(error.reason, ResponseError) else None
                        raise (kind or exceptions.ConnectionError)(error, request=request) from error
                else:
                    raw.drain_conn()
                    retries.sleep(raw)
                    _rewind(body, position)
                    continue
            # What it makes of an answer needs nothing of its own state.
            response: Response = HTTPAdapter.build_response(self, request, raw)  # type: ignore[arg-type]
            return response

    @staticmethod
    def _made(request: PreparedRequest, method: str, url: str, timeout: Any) -> pinlink.Request:
        if timeout is not None and not isinstance(timeout, (int, float)):
            parts = [part for part in tuple(timeout) if part is not None]
            timeout = sum(parts) if parts else None
        headers, length, expects = [], None, False
        for name, value in request.headers.items():
            lower = name.lower()
            if lower == "content-length":
                length = int(value)
            elif lower == "expect":
                expects = True
            elif lower == "host" and value != url.split("://", 1)[-1].split("/", 1)[0]:
                raise exceptions.InvalidHeader("another Host is given by the option host_header")
            if lower not in OWNED:
                headers.append((name, value))
        return pinlink.Request(
            method, url, headers=headers, data=request.body, timeout=timeout, length=length, expect_continue=expects
        )

    def close(self) -> None:
        """Close idle connections. A session that is used again gets new ones."""
        self._clients.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        return _restored, (self.max_retries, self._clients)


def _rewind(body: Any, position: Any) -> None:
    if isinstance(position, int):
        body.seek(position)


def _restored(max_retries: Retry, clients: Clients) -> PinlinkAdapter:
    adapter = PinlinkAdapter.__new__(PinlinkAdapter)
    adapter.max_retries, adapter._clients = max_retries, clients
    return adapter


def _translated(error: pinlink.Error, request: PreparedRequest) -> exceptions.RequestException:
    kind: Type[exceptions.RequestException]
    if timed_out(error):
        early = error.phase in _BEFORE_THE_REQUEST and error.delivery == "not sent"
        kind = exceptions.ConnectTimeout if early else exceptions.ReadTimeout
    elif error.kind == "Tls":
        kind = exceptions.SSLError
    elif error.kind == "Proxy":
        kind = exceptions.ProxyError
    elif error.reason == "Config.InvalidInput":
        text = str(error)
        if "proxy" in text:
            kind = exceptions.InvalidProxyURL
        else:
            kind = exceptions.InvalidURL if "URL" in text else exceptions.InvalidHeader
    else:
        kind = exceptions.ConnectionError
    return kind(error, request=request)
