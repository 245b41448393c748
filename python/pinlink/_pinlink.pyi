"""The native side of :mod:`pinlink`, as type checkers see it."""

import os
import ssl
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import TracebackType
from typing import (
    Any,
    Literal,
    Protocol,
    TypedDict,
    final,
)

from typing_extensions import Self, Unpack

from ._doctor import Diagnosis
from ._errors import Error
from ._headers import Headers
from ._outcome import Outcome
from ._reader import Reader
from ._socket import Socket

__all__ = [
    "AsyncCore",
    "AsyncPieces",
    "Batch",
    "Board",
    "Client",
    "Dedup",
    "Feed",
    "Key",
    "Ledger",
    "Pieces",
    "PinSet",
    "Place",
    "Profile",
    "Request",
    "Response",
    "Scope",
    "Settled",
    "Statement",
    "Write",
    "Written",
    "doctor",
    "end_calls",
    "forget_calls",
    "insert_once",
    "opened",
    "outcome",
    "restored",
    "upsert",
]

_Seconds = float | timedelta
_Duration = _Seconds | str
"""Seconds, a `timedelta`, or text with a unit (`"500ms"`)."""
_Path = str | os.PathLike[str]
_Texts = str | Iterable[str]
_Address = str | IPv4Address | IPv6Address | IPv4Network | IPv6Network
_Addresses = _Address | Iterable[_Address]
_Field = str | bytes
_Fields = Mapping[str, _Field] | Iterable[tuple[str, _Field]] | Mapping[str, str] | Mapping[str, bytes]
_Scalar = str | float | bool | None
_Param = _Scalar | Iterable[_Scalar]
_Params = Mapping[str, Any] | Iterable[tuple[str, _Param]]
_Part = str | bytes | int | None

class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

_Data = str | bytes | bytearray | memoryview | Mapping[str, Any] | _Readable | Iterable[bytes]
_AsyncData = _Data | AsyncIterable[bytes]
_Meaning = Literal["Applied", "AlreadyApplied", "Exists", "InProgress", "Mismatch", "Again", "Stored", "Rejected"]
_Dialect = Literal["mysql", "postgres", "hologres"]
_Columns = Mapping[str, Any] | Iterable[tuple[str, Any]]

class _Cursor(Protocol):
    """A cursor of a driver, as PEP 249 has it, whose placeholders are ``%s``."""

    @property
    def rowcount(self) -> int: ...
    @property
    def description(self) -> Any: ...
    def execute(self, operation: Any, parameters: Any = ..., /) -> Any: ...
    def fetchall(self) -> Any: ...

class _Options(TypedDict, total=False):
    """The options of a client. The names are the same in every language; ``None`` is the default."""

    hosts: _Texts | None
    """The declared origins: `https://host[:port]`, `http://…`, `tcp://host:port`, a bare host for HTTPS, or a wildcard
    `https://*.suffix`. Only these are reachable. Default: unset."""
    pins: _Texts | Mapping[str, _Addresses] | None
    """Addresses fixed by hand, `host=address|address`; they win over every other source and are never looked up.
    Default: unset."""
    pin_set: _Path | PinSet | None
    """The file of a pin set, written by `pinlink resolve` or by another client. Default: unset."""
    hosts_file: _Path | None
    """A file in the form of /etc/hosts whose names are pinned as in a pin set. Default: unset."""
    nameservers: _Addresses | None
    """Name servers as `address[:port]`, asked in this order. Default: unset."""
    address_family: Literal["ipv4", "ipv6", "both"] | None
    """Which addresses to look up: `ipv4`, `ipv6` or `both`. Default: ipv4."""
    resolve_timeout: _Duration | None
    """How long the whole of init may take to resolve every declared host. Default: 30s."""
    resolve_attempt_timeout: _Duration | None
    """How long one query waits for its answer before the next server or try. Default: 3s."""
    resolve_jitter: _Duration | None
    """Init waits a random part of this before its first query. Default: 0ms."""
    resolve_concurrency: int | None
    """How many names are looked up at once. Default: 32."""
    sideline: _Duration | None
    """How long an address that failed is tried after all others. Default: 30s."""
    allow_addresses: _Addresses | None
    """Networks (CIDR) that may be dialled although they lie in a refused range: loopback, link-local, metadata
    (100.100.100.200 too), unspecified, multicast. Default: unset."""
    connect_to: _Texts | None
    """Dial another host for an origin, `host:port:host:port` as curl has it; SNI, `Host` and the certificate check keep
    the first name. Default: unset."""
    sni: _Texts | Mapping[str, str] | None
    """Another TLS server name for a host, `host=name`; it is sent as SNI and the certificate is checked for it.
    Default: unset."""
    host_header: _Texts | Mapping[str, str] | None
    """Another `Host` header for a host, `host=value`. Default: unset."""
    proxy: str | None
    """An explicit proxy through which every target is reached, `http://[user:password@]host[:port]` (CONNECT) or
    `socks5://…`; it is asked for the pinned address, and its own host is resolved at init. Port 1080 where none is
    given, as in curl. Default: unset."""
    ca_file: _Path | None
    """A PEM file of CA certificates to trust beside the bundled web roots. Default: unset."""
    web_roots: bool | None
    """Whether to trust the bundled web roots (Mozilla's list). Default: true."""
    system_roots: bool | None
    """Whether to trust the machine's own roots too. Default: false."""
    danger_accept_any_certificate: bool | None
    """Turns certificate verification off. Every client built with it warns. Default: false."""
    client_cert: _Path | None
    """A PEM file with the client's certificate chain, for targets that ask for one. Default: unset."""
    client_key: _Path | None
    """A PEM file with the key of `client_cert`, without a passphrase; unset where that file holds both. Default:
    unset."""
    alpn: _Texts | None
    """The protocols offered (ALPN, RFC 7301) by `connect_tls`; HTTP has its own. Default: unset."""
    max_connections: int | None
    """The cap on live connections of this client, all origins together. Default: 32."""
    max_connections_per_origin: int | None
    """The cap on live connections to one origin. Default: 8."""
    job_connections: int | None
    """The cap of the whole job: each of `workers` takes its share, at least one connection. Default: unset."""
    workers: int | None
    """How many processes the job has. Default: 1."""
    max_waiting: int | None
    """How many callers may wait for a connection to one origin; one more fails at once. Default: 1024."""
    prewarm: int | None
    """How many connections to each declared origin are made at init, in their order, as far as `max_connections`
    reaches. Default: 0."""
    timeout: _Duration | None
    """The total deadline of a call: queue, dial, send, answer and retries. Default: 30s."""
    connect_timeout: _Duration | None
    """How long dialling may take, over all addresses. Default: 5s."""
    handshake_timeout: _Duration | None
    """How long a TLS handshake may take. Default: 5s."""
    acquire_timeout: _Duration | None
    """How long a call waits for a connection. Default: 10s."""
    stall_timeout: _Duration | None
    """A call ends when less than `min_progress` moved for this long. Default: 15s."""
    min_progress: int | str | None
    """How much must move, in either direction, within each `stall_timeout`. Default: 1B."""
    race_stagger: _Duration | None
    """After this long without an answer the next address is dialled as well (RFC 8305 section 5). Default: 250ms."""
    keep_alive: _Duration | None
    """When TCP keep-alive probes begin on a silent connection, and HTTP/2 sends a PING. Default: 30s."""
    max_idle: _Duration | None
    """An idle connection is closed after this long. Default: 50s."""
    max_age: _Duration | None
    """A connection is not reused after this long, less up to a tenth at random. Default: 10m."""
    max_attempts: int | None
    """How often a request that may be repeated is sent at most. Default: 3."""
    retry_budget: int | None
    """How many retries each origin may save up; each request adds a fifth of one. Default: 20."""
    remembered_keys: int | None
    """How many writes are remembered, so that no key goes out with two bodies or after its target has forgotten it; the
    oldest is dropped. Default: 16384."""
    max_spool: int | str | None
    """A write's body that can be read once is kept up to this size, so that it can be sent again; a longer one is sent
    once. Default: 1MiB."""
    backoff_base: _Duration | None
    """The ceiling of the first wait between tries; it doubles, and each wait is drawn from zero up to it. Default:
    50ms."""
    backoff_max: _Duration | None
    """The greatest ceiling of a wait between tries. Default: 2s."""
    max_redirects: int | None
    """How many redirects a GET or HEAD follows, within the declared hosts; 0 hands them to the caller. Credentials
    never go to another origin, and nothing follows from HTTPS to HTTP. Default: 0."""
    decode: bool | None
    """Whether to ask for compressed answers (gzip, deflate, brotli, zstd) and decode them, within `max_body` and a
    hundredfold of what came. Default: false."""
    max_headers: int | str | None
    """The greatest header section of an answer. Default: 64KiB."""
    max_header_count: int | None
    """The most header fields of an answer. Default: 100."""
    max_interim: int | None
    """The most interim (1xx) answers before the answer. Default: 32."""
    max_body: int | str | None
    """The greatest body of a buffered answer. Default: 64MiB."""
    max_error_body: int | str | None
    """How much is kept of the body of a buffered answer with a status of 400 or more; a longer one is cut, and says so.
    Default: 64KiB."""
    protocol: Literal["auto", "http1", "http2"] | None
    """`http1`; `http2`: wherever a target agrees (ALPN) over TLS, and without asking over plain TCP; or `auto`:
    HTTP/1.1 for single blocking calls and plain TCP, ALPN for async callers and batches. Default: auto."""
    max_streams: int | None
    """The most requests at once on one HTTP/2 connection; fewer where the target says so. Default: 100."""
    user_agent: str | None
    """The `User-Agent` header, where a request has none. Default: pinlink/0.1.0."""
    summary: Literal["log", "stderr", "off"] | None
    """Where the one-line summary goes at close: `log` (a tracing event), `stderr` or `off`. Default: log."""

def doctor(targets: _Texts | None = None, **options: Unpack[_Options]) -> Diagnosis:
    """Look at the way to each of these targets, with these options: what a client with them would meet.

    Nothing is sent but a ``GET /`` and the first bytes of PostgreSQL's protocol. It takes at most some tens of seconds
    for eight targets, as the bounds among the options let it.

    Args:
        targets: one or several ``scheme://host[:port]``, with a scheme of ``https``, ``http``, ``tcp``, ``mysql``,
            ``postgresql``, ``hologres``, ``oss``, ``ots``, ``kms``, ``dlf``, ``hdfs``, ``hbase``, ``thrift``, or bare
            hosts for HTTPS; with none, the machine alone is looked at.
        options: those of a client; ``hosts`` may be left out.

    Raises:
        ConfigError: a mistake in the options or in a target. What is wrong on the way to one is in what is returned.
    """

def end_calls() -> None:
    """End the calls of all other threads: what the package does when the interpreter ends."""

def forget_calls() -> None:
    """In a child process: forget the calls of its parent's threads."""

def opened(client: Client, request: Request | str) -> Pieces:
    """Send a request whose answer is read as its pieces come: a client's ``open`` without a reader."""

def restored(options: list[tuple[str, str]], pins: str | None) -> Client:
    """Make a client out of a pickle."""

@final
class Client:
    """A client: resolved, pinned, pooled, bounded. Threads share one; a child after ``fork()`` goes on with it.

    Every declared host that has no pin is resolved before the constructor returns. A pickle carries options and pins,
    and connects at its first call. Calls release the interpreter while they wait, end at Ctrl-C within 50 ms, and raise
    :class:`Error` or one of its subclasses.
    """

    def __new__(cls, **options: Unpack[_Options]) -> Self:
        """Make a client.

        Raises:
            ConfigError: an option is unknown, malformed, out of its range, or contradicts another.
            TypeError: a value has a type that its option does not take.
            ConnectionError: a host does not resolve (kind ``"Dns"``).
            Error: an address lies in a refused range (kind ``"Policy"``).
        """

    @staticmethod
    def shared(**options: Unpack[_Options]) -> Client:
        """The client of this process: built by the first who asks, the same for all who ask with the same options.

        Everybody gets a handle of it: who closes one closes it for nobody else.

        Raises:
            ConfigError: the process has one with other options (``"Config.AlreadyInit"``).
        """

    def get(
        self,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        timeout: _Seconds | None = None,
    ) -> Response:
        """Send a GET."""

    def head(
        self,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        timeout: _Seconds | None = None,
    ) -> Response:
        """Send a HEAD."""

    def post(
        self,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        json: Any | None = None,
        data: _Data | None = None,
        timeout: _Seconds | None = None,
    ) -> Response:
        """Send a POST: at most once, unless it has an ``Idempotency-Key``."""

    def put(
        self,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        json: Any | None = None,
        data: _Data | None = None,
        timeout: _Seconds | None = None,
    ) -> Response:
        """Send a PUT."""

    def patch(
        self,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        json: Any | None = None,
        data: _Data | None = None,
        timeout: _Seconds | None = None,
    ) -> Response:
        """Send a PATCH: at most once, unless it has an ``Idempotency-Key``."""

    def delete(
        self,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        json: Any | None = None,
        data: _Data | None = None,
        timeout: _Seconds | None = None,
    ) -> Response:
        """Send a DELETE."""

    def request(
        self,
        method: str,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        json: Any | None = None,
        data: _Data | None = None,
        timeout: _Seconds | None = None,
    ) -> Response:
        """Send a request by any method.

        Args:
            method: a token, such as ``"GET"``.
            url: ``http://`` or ``https://`` and a declared host.
            params: added to the query; ``None`` adds nothing, several values add the name several times.
            headers: ``Host``, ``Content-Length`` and the like are the client's own, and refused.
            json: a value that :mod:`json` knows; NaN is refused.
            data: bytes; text, sent as UTF-8; a mapping, sent as a form; a file or an iterable of bytes, sent in chunks
                as they are read, once.
            timeout: the whole call, in seconds, instead of the option ``timeout``; above 0, up to an hour.

        Raises:
            TimeoutError: a budget of time ran out.
            ConnectionError: no connection could be made or kept.
            ConfigError: the request is malformed; nothing was sent.
            WriteError: a write that may not be repeated left, and no answer came.
            Error: anything else; ``kind``, ``reason``, ``phase`` and ``delivery`` tell.
        """

    def send(self, request: Request) -> Response:
        """Send a request that was made before; raises as :meth:`request`."""

    def map(self, requests: Iterable[Request | str]) -> list[Response | Error]:
        """Send many, as many at once as there may be connections.

        A row is a :class:`Request`, or the URL of a GET. There is an outcome for each, in their order: its answer, or
        the exception that says why there is none. One failing row fails no other; what its ``sign`` raised is its
        cause. The option ``timeout`` bounds them all together.
        """

    def open(self, request: Request | str) -> Reader:
        """Send a request, or a GET of this URL, whose answer is read while it comes; raises as :meth:`request`."""

    def connect(
        self,
        host: str,
        port: int,
        *,
        tls: bool | ssl.SSLContext | None = None,
        timeout: float = 30.0,
    ) -> Socket | ssl.SSLSocket:
        """Connect to a declared ``tcp://host:port``, for protocols that are not HTTP.

        It is a real socket, pinned and raced, which counts against the caps until it is closed.

        Args:
            host: declared in ``hosts`` as ``tcp://host:port``.
            port: as declared.
            tls: ``True`` or a context: TLS of Python's own, verified for ``host``.
            timeout: of each later operation on the socket, in seconds.

        Raises:
            Error: as a request that was not sent.
            ssl.SSLError: the handshake failed.
        """

    def write(self, write: Write) -> Written:
        """Write, and say what became of it: its effect was had once, now or before.

        Raises:
            WriteError: it was refused, or may or may not have happened: ``outcome`` says which.
            Error: as :meth:`request`; ``outcome`` counts here too.
        """

    def write_all(self, writes: Iterable[Write]) -> list[Written | Error]:
        """Write many, as many at once as there may be connections: an outcome for each, in their order.

        What a write's ``sign`` or ``verify`` raised is the cause of its own outcome.
        """

    def write_batch(self, batch: Batch) -> list[Written | Error]:
        """Write many in one request, and send again only those that failed: an outcome for each, in their order."""

    def pins(self) -> PinSet:
        """What is pinned now."""

    def repin(self, host: str, to: _Addresses) -> None:
        """Replace the addresses of a declared host; connections to those that are gone are closed."""

    def stats(self) -> dict[str, int]:
        """What this client has done in this process: counters by name; latencies are in microseconds."""

    def doctor(self) -> Diagnosis:
        """Look at the way to each declared origin, with this client's options and pins; wildcards are passed over."""

    def close(self) -> None:
        """Close idle connections and fail every later call. Closing again does nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        *_raised: type[BaseException] | BaseException | TracebackType | None,
    ) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Request:
    """A request that is made now and sent later: by ``send``, ``map`` or as a write."""

    def __new__(
        cls,
        method: str,
        url: str,
        *,
        params: _Params | None = None,
        headers: _Fields | None = None,
        json: Any | None = None,
        data: _Data | Feed | None = None,
        timeout: _Seconds | None = None,
        trailers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        expect_continue: bool = False,
        resume: bool = False,
        size_limit: int | None = None,
        sign: Callable[[Request], _Fields] | None = None,
        length: int | None = None,
    ) -> Self:
        """Make a request; the first arguments are those of :meth:`Client.request`.

        Args:
            trailers: fields behind the body, which then goes in chunks.
            expect_continue: ask before the body is sent.
            resume: let an answer that breaks off be gone on with; for a GET that is opened.
            size_limit: the greatest body of the answer, in bytes.
            length: of a body that ``data`` brings piece by piece, in bytes; without it, and where a file can't tell, it
                goes in chunks.
            sign: called for every try with the request as it would be sent; returns the header fields to add.

        Raises:
            ConfigError: the request is malformed.
        """

    @property
    def method(self) -> str:
        """The method."""

    @property
    def url(self) -> str:
        """Where it goes, with its parameters."""

    @property
    def headers(self) -> Headers:
        """The header fields given so far."""

    @property
    def body(self) -> bytes | None:
        """The body, where it is at hand as a whole."""

@final
class Response:
    """An answer, read to its end."""

    @property
    def status(self) -> int:
        """The status code, 200 to 599."""

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""

    @property
    def url(self) -> str:
        """The URL that was asked for."""

    @property
    def headers(self) -> Headers:
        """The header fields, by their case-insensitive names."""

    @property
    def trailers(self) -> Headers:
        """The fields that came behind the body."""

    @property
    def content(self) -> bytes:
        """The body."""

    @property
    def text(self) -> str:
        """The body as text, by the charset of its content type, else UTF-8; what is malformed becomes U+FFFD."""

    @property
    def is_cut(self) -> bool:
        """Whether the body goes on beyond what was kept (option ``max_error_body``)."""

    @property
    def trace(self) -> dict[str, Any]:
        """How the call went: ``address``, ``attempts``, ``reused``, ``http2``, and times in seconds.

        ``queue``, ``connect``, ``handshake``, ``wait``, ``receive`` and ``total``.
        """

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            ValueError: it is none.
        """

    def iter_bytes(self, size: int = 65536) -> Iterator[bytes]:
        """Iterate over the body in pieces of this size."""

    def raise_for_status(self) -> Self:
        """Return this answer.

        Raises:
            StatusError: its status is 400 or more.
        """

@final
class PinSet:
    """Addresses by host, as an artefact that outlives a process: a value, of which every change makes another."""

    def __new__(cls, pins: dict[str, _Addresses] | None = None) -> Self:
        """Make a set of hosts (``*.suffix`` too) and addresses given by hand."""

    @staticmethod
    def resolve(**options: Unpack[_Options]) -> PinSet:
        """Resolve the hosts of these options, which are a client's, and make no connection."""

    @staticmethod
    def load(path: _Path) -> PinSet:
        """Read a file.

        Raises:
            ConfigError: it can't be read, or is no pin set (``"Config.PinSet"``).
        """

    def save(self, path: _Path) -> None:
        """Write a file, whole or not at all.

        Raises:
            ConfigError: it can't be written.
        """

    @staticmethod
    def from_json(text: str) -> PinSet:
        """Read the artefact's text."""

    def to_json(self) -> str:
        """Give the artefact as text."""

    @staticmethod
    def from_hosts_file(text: str) -> PinSet:
        """Read text in the form of /etc/hosts."""

    def find(self, host: str) -> list[str] | None:
        """Give the addresses of a host: of its own pin, else of the longest suffix above it."""

    def merge(self, other: PinSet) -> PinSet:
        """Give this set and another in one; of two pins of a host, the one resolved later."""

    def expire(self) -> PinSet:
        """Give the same without what has expired."""

    def valid_for(self, validity: _Seconds) -> PinSet:
        """Give the same, each pin good for so long after it was resolved."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str]: ...
    def __contains__(self, host: str, /) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Scope:
    """Whose writes these are: what all executions of one job share, and no other job has."""

    @staticmethod
    def job(key: str) -> Scope:
        """Take a key that the job's owner gave it: a business date and the job's name will do.

        Raises:
            ConfigError: it is empty, over 256 bytes, holds a control character, or names an attempt.
        """

    @staticmethod
    def instance(id: str) -> Scope:
        """Take the id of a MaxCompute instance."""

    @staticmethod
    def spark(application: str) -> Scope:
        """Take the id of a Spark application."""

    def key(self, operation: str, record: _Part | Iterable[_Part]) -> Key:
        """Derive the key of one write: what is done, and to which record, by its business key.

        Args:
            operation: what is done, such as ``"insert order"``.
            record: text, bytes, a whole number or ``None``, or several of them; 7 and ``"7"`` are the same.

        Raises:
            TypeError: a part is anything else: a floating-point number has no one text.
        """

    def content_key(self, operation: str, content: bytes) -> Key:
        """Derive the key of a record that has no business key: two equal contents are one write."""

    def chunk_key(self, operation: str, partition: int, ordinal: int) -> Key:
        """Derive the key of a request that carries many rows, by their place in the job."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Key:
    """The key of one write. It is shown as a short hash only: who knows a key may claim its write."""

    @property
    def hex(self) -> str:
        """64 hexadecimal digits in lower case."""

    @property
    def uuid(self) -> str:
        """A UUID of version 8."""

    @property
    def short(self) -> str:
        """26 lower-case letters and digits, for targets with tight limits."""

    @property
    def logged(self) -> str:
        """What may stand in a log."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Profile:
    """What is known of a target that takes keys: where the key goes, and what the answers mean."""

    @staticmethod
    def idempotency_key() -> Profile:
        """``Idempotency-Key`` as the IETF's draft has it."""

    @staticmethod
    def bare_idempotency_key() -> Profile:
        """``Idempotency-Key`` as Stripe and those after it take it: bare."""

    @staticmethod
    def header(name: str) -> Profile:
        """A header of the target's own."""

    @staticmethod
    def query(name: str) -> Profile:
        """A parameter of the query."""

    @staticmethod
    def form_field(name: str) -> Profile:
        """A field of a form body."""

    @staticmethod
    def client_token() -> Profile:
        """``ClientToken`` in the query, as Alibaba Cloud's OpenAPI has it."""

    @staticmethod
    def client_token_in_form() -> Profile:
        """``ClientToken`` in a form body."""

    @staticmethod
    def oss() -> Profile:
        """``PUT`` of an OSS object that must not exist yet."""

    @staticmethod
    def s3() -> Profile:
        """The same at an S3-compatible store."""

    @staticmethod
    def if_none_match() -> Profile:
        """``PUT`` of what must not exist yet at any HTTP server."""

    @staticmethod
    def elasticsearch() -> Profile:
        """Elasticsearch and OpenSearch: ``PUT /index/_create/{key}``."""

    @staticmethod
    def tablestore() -> Profile:
        """Tablestore: a row whose condition ``EXPECT_NOT_EXIST`` stands in the body."""

    def form(self, form: Literal["hex", "uuid", "short"]) -> Profile:
        """Say how the key is written; ``hex`` is the default."""

    def memory(self, memory: _Seconds) -> Profile:
        """Say how long the target remembers a key; a day is the default."""

    def mark(
        self,
        status: int,
        meaning: _Meaning,
        *,
        code: str | None = None,
    ) -> Profile:
        """Say what an answer of this status means, where its body holds ``code`` if one is given."""

    def replay_mark(self, name: str, value: str) -> Profile:
        """Say by which header and value the target marks an answer as a stored one."""

    def stores_failures(self, stores: bool) -> Profile:
        """Say whether a failure is stored under the key; it is not by default."""

@final
class Write:
    """A write, ready to be sent as often as it takes."""

    def __new__(
        cls,
        request: Request,
        key: Key | None = None,
        profile: Profile | None = None,
        *,
        unkeyed: bool = False,
        verify: tuple[Request, Callable[[Response], bool | None]] | None = None,
    ) -> Self:
        """Make a write under a key, or a keyless one.

        Args:
            request: ``{key}`` in its URL stands for the key.
            key: with ``profile``; without both, only ``PUT`` and ``DELETE`` are sent.
            profile: what is known of the target.
            unkeyed: accept that a re-executed node may have this effect twice.
            verify: a read that settles an unknown outcome, and a function that says of its answer whether the write had
                its effect; ``None`` where it can't be told.
        """

    @property
    def guarantee(self) -> Literal["Once", "Repeatable", "AtMostOncePerProcess"]:
        """What may be promised of it."""

@final
class Written:
    """A write that had its effect."""

    @property
    def outcome(self) -> Outcome:
        """``Outcome.APPLIED`` or ``Outcome.ALREADY_APPLIED``."""

    @property
    def response(self) -> Response:
        """The answer that said so."""

@final
class Batch:
    """Many writes in one request, of which only those that failed are sent again."""

    def __new__(
        cls,
        items: Iterable[tuple[Key, str | bytes]],
        compose: Callable[[list[tuple[Key, bytes]]], Request],
        read: Callable[[Response], Iterable[tuple[_Meaning, int]] | None],
        *,
        memory: _Seconds | None = None,
    ) -> Self:
        """Make a batch of a target's own kind.

        Args:
            items: a key and a body each.
            compose: makes the request of some of the items, with their keys in it.
            read: finds in the answer what became of each item, in their order: a meaning and the item's own status;
                ``None`` where it can't be understood.
            memory: how long the target remembers the keys; a day is the default.
        """

    @staticmethod
    def elasticsearch(url: str, index: str, items: Iterable[tuple[Key, str | bytes]]) -> Batch:
        """``_bulk`` of Elasticsearch and OpenSearch at this URL, one ``create`` for each item, a JSON document."""

@final
class Ledger:
    """One write at a target that knows nothing of keys, by one of all the executions that want it.

    Who creates the claim in the ledger's store writes, and confirms it there; the others wait, and find it done. With
    ``takeover="stop"``, the default, there is at most one effect, whatever dies, pauses or is lost; an execution that
    dies between its claim and its confirmation leaves the outcome unknown, unless ``verify`` can tell. ``"repeat"``
    writes again and accepts a second effect; ``"conditional"`` writes again since the target itself sees to it that
    there is one.
    """

    @staticmethod
    def http(
        client: Client,
        base: str,
        profile: Profile,
        *,
        sign: Callable[[Request], _Fields] | None = None,
        lease: _Seconds | None = None,
        margin: _Seconds | None = None,
        takeover: Literal["stop", "repeat", "conditional"] = "stop",
    ) -> Ledger:
        """Keep the records below a URL, in a store that can create an object unless it is there.

        Args:
            client: what reads and writes the records.
            base: ends with a slash.
            profile: of a conditional ``PUT``: ``oss``, ``s3`` or ``if_none_match``.
            sign: called for every try, as that of a :class:`Request`.
            lease: how long a claim holds off others, a minute by default; a write gets at most half of it.
            margin: how much longer others wait before they hold a claim for dead, 2 seconds by default.
            takeover: what is done where the holder of a claim died.

        Raises:
            ConfigError: the profile or the URL is none of such a store.
        """

    @staticmethod
    def sql(
        dialect: _Dialect,
        cursor: _Cursor,
        *,
        table: str = "pinlink_ledger",
        lease: _Seconds | None = None,
        margin: _Seconds | None = None,
        takeover: Literal["stop", "repeat", "conditional"] = "stop",
    ) -> Ledger:
        """Keep the records in a table, by statements that this cursor runs, each for itself (autocommit)."""

    def create_table(self) -> Statement:
        """Make the table, where there is one: once, by whoever may, not by every worker."""

    def once(
        self,
        key: Key,
        content: bytes,
        write: Callable[[float], Any],
        *,
        timeout: _Seconds | None = None,
        verify: Callable[[], bool | None] | None = None,
    ) -> Settled:
        """Have the write done by this execution, or find it done by another.

        Args:
            key: of the write.
            content: what is written, in any form that is the same for every execution.
            write: called at most once, with the seconds that it may take; must not send again what may have arrived.
                That it returns means that there was an effect; an :class:`Error` whose ``outcome`` is ``REJECTED``
                that there was none; any other exception that there may have been one.
            timeout: for all of it, half a minute by default.
            verify: a read that tells whether the write had its effect, ``None`` where it can't be told.

        Raises:
            WriteError: it may or may not have happened, was refused, or another content was claimed under this key;
                what ``write`` raised is its cause, or itself where it is an :class:`Error`.
            TimeoutError: the time was up before it could be sent.
        """

@final
class Settled:
    """A write that happened, by this execution or another."""

    @property
    def outcome(self) -> Outcome:
        """``Outcome.APPLIED`` where this execution wrote, ``Outcome.ALREADY_APPLIED`` where another did."""

    @property
    def is_confirmed(self) -> bool:
        """Whether the store knows."""

    @property
    def value(self) -> Any:
        """What the function returned, where this execution wrote."""

@final
class Statement:
    """What a cursor is asked to run. Values are parameters, never part of the text."""

    def __new__(cls, text: str, parameters: Iterable[Any] | None = None) -> Self:
        """Make one of the caller's own, as the server reads it: ``?`` for MySQL, ``$1`` for PostgreSQL."""

    @property
    def text(self) -> str:
        """The SQL as the server reads it."""

    @property
    def format(self) -> str:
        """The SQL with ``%s`` for each placeholder, as psycopg and PyMySQL read it."""

    @property
    def parameters(self) -> tuple[Any, ...]:
        """A value for each placeholder, in order."""

def insert_once(dialect: _Dialect, table: str, columns: _Columns, unique: str | Iterable[str]) -> Statement:
    """Insert a row unless one with the same values in the columns ``unique`` is there.

    ``unique`` must be exactly the columns of a unique index (Hologres: of the primary key). On MySQL the connection
    must count changed rows, as its drivers do by default (not ``CLIENT.FOUND_ROWS``).

    Raises:
        ConfigError: a name is none, or a column of ``unique`` has no value, ``None`` or a float.
    """

def upsert(
    dialect: _Dialect,
    table: str,
    columns: _Columns,
    unique: str | Iterable[str],
    *,
    greatest: str | None = None,
) -> Statement:
    """Insert a row, or set the columns of the one that has the same values in the columns ``unique``.

    Args:
        dialect: whose SQL it is.
        table: ``table`` or ``schema.table``.
        columns: names and values.
        unique: exactly the columns of a unique index.
        greatest: the column (a version, an event's time) that decides: an older or equal write changes nothing. Without
            it the last to arrive stays.
    """

def outcome(dialect: _Dialect, affected: int) -> Outcome:
    """Say what the count of affected rows (``cursor.rowcount``) means for :func:`insert_once` and :func:`upsert`.

    Raises:
        ConfigError: it is of another statement.
    """

@final
class Dedup:
    """A table of keys, written in the same transaction as what they stand for.

    It is for writes that no unique index covers, such as counters or several tables.
    """

    def __new__(cls, dialect: _Dialect, table: str = "pinlink_writes") -> Self: ...
    def create_table(self) -> Statement:
        """Make the table: once, by whoever may, not by every worker."""

    def forget(self, older_than: _Seconds) -> Statement:
        """Delete the rows of keys that are older than this."""

    def once(self, cursor: _Cursor, key: Key, content: bytes, writes: Iterable[Statement]) -> Outcome:
        """Run the whole transaction: mark the key, run ``writes`` if this execution is the first, and commit.

        The connection must be in autocommit mode: ``BEGIN`` and ``COMMIT`` are among the statements.

        Args:
            cursor: runs the statements.
            key: of the write.
            content: what is written, in any form that is the same for every execution.
            writes: in this order.

        Raises:
            WriteError: nothing was committed (``outcome`` is ``REJECTED``: run it again), or whether it was is not
                known (``UNKNOWN``: run it again over a new connection, and it says which it was); what the driver
                raised is the cause. Reason ``"Write.Mismatch"``: the key was used with another content.
        """

@final
class Feed:
    """A body that an asyncio program brings while it is sent."""

    def __new__(cls) -> Self: ...
    def push(self, board: Board, future: Any, piece: bytes | BaseException | None) -> int:
        """Hand over a piece, ``None`` for the end, or what ends it; say whether more is wanted."""

    def close(self) -> None:
        """Say that no more comes."""

@final
class Pieces:
    """What a :class:`Reader` reads."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Headers:
        """The header fields."""

    def pairs(self) -> list[tuple[str, str]]:
        """Give the header fields as they came, names in lower case."""

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Give the same as bytes."""

    @property
    def trailers(self) -> Headers:
        """The fields that came behind the body."""

    @property
    def url(self) -> str:
        """The URL that was asked for."""

    def chunk(self) -> bytes:
        """Read the next piece; empty at the end."""

    def close(self) -> None:
        """Give the connection back."""

@final
class Place:
    """The place of a connection that another library reads and writes."""

    def fileno(self) -> int:
        """Give a descriptor of the connection, which the caller closes."""

    def close(self) -> None:
        """Give the place to the next."""

@final
class Board:
    """The calls of one event loop."""

    def __new__(cls) -> Self: ...
    def fileno(self) -> int:
        """What becomes readable when a call can go on."""

    def turn(self) -> None:
        """Let every call go on that can."""

    def drop(self, call: int) -> None:
        """Give a call up."""

@final
class AsyncCore:
    """What an :class:`AsyncClient` is beneath: a method takes a board and a future, and returns a call's number."""

    def __new__(cls, **options: Unpack[_Options]) -> Self: ...
    def pickled(self) -> tuple[list[tuple[str, str]], str | None]:
        """Give what a pickle carries."""

    @staticmethod
    def restored(options: list[tuple[str, str]], pins: str | None) -> AsyncCore:
        """Make it out of a pickle."""

    def begin(self, board: Board, future: Any) -> int:
        """Resolve what is to be resolved."""

    def ask(
        self,
        board: Board,
        future: Any,
        method: str,
        url: str,
        params: _Params | None,
        headers: _Fields | None,
        json: Any | None,
        data: _Data | Feed | None,
        timeout: _Seconds | None,
    ) -> int:
        """Send a request."""

    def send(self, board: Board, future: Any, request: Request) -> int:
        """Send a request that was made before."""

    def map(self, board: Board, future: Any, requests: Iterable[Request | str]) -> int:
        """Send many."""

    def write(self, board: Board, future: Any, write: Write) -> int:
        """Write."""

    def write_all(self, board: Board, future: Any, writes: Iterable[Write]) -> int:
        """Write many."""

    def write_batch(self, board: Board, future: Any, batch: Batch) -> int:
        """Write many in one request."""

    def open(self, board: Board, future: Any, request: Request) -> int:
        """Send a request whose answer is read while it comes."""

    def pins(self) -> PinSet:
        """What is pinned now."""

    def stats(self) -> dict[str, int]:
        """Counters by name."""

    def close(self) -> None:
        """Close idle connections and fail every later call."""

@final
class AsyncPieces:
    """What an :class:`AsyncReader` reads."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Headers:
        """The header fields."""

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Give the same as pairs of bytes."""

    @property
    def url(self) -> str:
        """The URL that was asked for."""

    def chunk(self, board: Board, future: Any) -> int:
        """Read the next piece."""

    def close(self) -> None:
        """Give the connection back."""
