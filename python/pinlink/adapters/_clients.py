"""The clients beneath an adapter: one for each way of trusting, identifying and going through a proxy."""

from __future__ import annotations

import pinlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple, Union

# Framing and routing are the client's.
OWNED = frozenset(
    [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class Clients:
    """Clients of the same options and the same pins. The usual one is made at once, the others when asked for."""

    def __init__(self, options: Dict[str, Any]) -> None:
        self._options = options
        self._made: Dict[Tuple[Any, ...], pinlink.Client] = {}
        self.of(True, None, None)

    def of(
        self,
        verify: Union[bool, str, None],
        cert: Union[str, Tuple[str, Optional[str]], None],
        proxy: Optional[str],
    ) -> pinlink.Client:
        """The client that trusts as `verify` says, shows this certificate, and goes through this proxy."""
        key = (verify, cert, proxy)
        client = self._made.get(key)
        if client is not None:
            return client
        options = dict(self._options)
        usual = self._made.get((True, None, None))
        if usual is not None:
            options["pin_set"] = usual.pins()
        if verify is False:
            options["danger_accept_any_certificate"] = True
        elif isinstance(verify, str):
            options.update(ca_file=verify, web_roots=False)
        if cert is not None:
            options["client_cert"], options["client_key"] = (cert, None) if isinstance(cert, str) else cert
        if proxy is not None:
            options["proxy"] = proxy
        # Of two threads that were first, one's serves both.
        return self._made.setdefault(key, pinlink.Client(**options))

    def close(self) -> None:
        """Close idle connections. Who asks again gets new ones."""
        made, self._made = self._made, {}
        for client in made.values():
            client.close()

    def __reduce__(self) -> Tuple[Any, ...]:
        return _restored, (self._options, dict(self._made))


def _restored(options: Dict[str, Any], made: Dict[Any, pinlink.Client]) -> Clients:
    clients = Clients.__new__(Clients)
    clients._options, clients._made = options, made
    return clients
