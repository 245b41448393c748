"""What a type checker must accept, and must refuse: run by mypy, never executed."""

import datetime
from typing import List, Union

import pinlink

client = pinlink.Client(
    hosts=["https://kms.example"], timeout=datetime.timedelta(seconds=5), pins={"kms.example": "10.0.0.7"}
)
answer: pinlink.Response = client.get("https://kms.example/", params={"a": [1, 2]}, headers={"x": "y"}, timeout=0.5)
rows: List[Union[pinlink.Response, pinlink.Error]] = client.map(
    ["https://kms.example/1", pinlink.Request("GET", "https://kms.example/2")]
)
for row in rows:
    if isinstance(row, pinlink.Error):
        kind: str = row.kind
    else:
        content: bytes = row.raise_for_status().content
key = pinlink.Scope.job("orders").key("insert", ["berlin", 4711, None])
written = client.write(
    pinlink.Write(pinlink.Request("POST", "https://kms.example/", json={}), key, pinlink.Profile.oss())
)
is_done: bool = written.outcome is pinlink.Outcome.APPLIED
client = pinlink.Client(max_conections=1)  # type: ignore[call-arg]
client = pinlink.Client(max_connections="1")  # type: ignore[arg-type]
client.get("https://kms.example/", 5)  # type: ignore[call-arg, arg-type]
