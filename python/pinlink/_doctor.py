"""What stands between this process and its targets, looked at step by step."""

from __future__ import annotations

import json
import os
import platform
from typing import Any, NamedTuple

from . import _pinlink

__all__ = ["Cause", "Diagnosis", "Examination", "Fact", "Step", "facts"]


class Cause(NamedTuple):
    """One step of somebody's that may be missing."""

    certainty: str
    """``"likely"`` or ``"possible"``: a failure seen from one side alone is never more than likely."""
    layer: str
    """Whose step it is, such as ``"job_flag"`` or ``"security_group"``."""
    step: str
    """What to do, one sentence."""


class Step(NamedTuple):
    """One step towards a target."""

    stage: str
    """What was looked at: ``"name"``, ``"address"``, ``"tcp"``, ``"tls"`` or ``"answer"``."""
    verdict: str
    """How it went: ``"well"``, ``"warning"`` or ``"failed"``."""
    milliseconds: float
    """How long it took."""
    reason: str | None
    """The failure's name, such as ``"Connect.Timeout"``."""
    detail: str
    """What was seen, one line."""
    causes: tuple[Cause, ...]
    """What is probably missing, the most probable first."""


class Examination(NamedTuple):
    """The way to one target."""

    target: str
    """The target as it was given."""
    steps: tuple[Step, ...]
    """The steps, up to the first that failed."""

    @property
    def ok(self) -> bool:
        """Whether every step went well, perhaps with a warning."""
        return bool(self.steps) and all(step.verdict != "failed" for step in self.steps)


class Fact(NamedTuple):
    """One thing about the machine, or about this interpreter."""

    name: str
    """What it is about."""
    verdict: str
    """Whether it is as calls need it: ``"well"``, ``"warning"``, ``"failed"`` or ``"unknown"``."""
    value: str
    """What was read."""


class Diagnosis:
    """What a look at targets and machine has found.

    As text it is a table that fits into a job's log. It holds hosts, addresses and names of failures, and nothing that
    is secret. Names of stages, verdicts, layers and certainties are the same in every language.
    """

    __slots__ = ("_json", "_text", "environment", "ok", "targets")

    ok: bool
    """Whether all targets are reachable."""
    targets: tuple[Examination, ...]
    """The targets, in the order given."""
    environment: tuple[Fact, ...]
    """The machine and this interpreter, as far as they matter."""

    def __init__(self, json_text: str, text: str, ok: bool) -> None:
        """Made by :func:`pinlink.doctor` and :meth:`pinlink.Client.doctor`."""
        self._json, self._text, self.ok = json_text, text, ok
        told = json.loads(json_text)
        self.targets = tuple(
            Examination(row["target"], tuple(_step(step) for step in row["steps"])) for row in told["targets"]
        )
        self.environment = tuple(Fact(**row) for row in told["environment"])

    def to_json(self) -> str:
        """The report as JSON: ``targets`` and ``environment``, with the same fields in every language."""
        return self._json

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        reachable = sum(row.ok for row in self.targets)
        return f"<pinlink.Diagnosis: {reachable} of {len(self.targets)} targets are reachable>"

    def __reduce__(self) -> tuple[type[Diagnosis], tuple[str, str, bool]]:
        return Diagnosis, (self._json, self._text, self.ok)


def _step(row: dict[str, Any]) -> Step:
    row["causes"] = tuple(Cause(**cause) for cause in row["causes"])
    return Step(**row)


def facts() -> list[tuple[str, bool, str]]:
    """What the interpreter knows of itself, for the report: name, whether it is well, value."""
    return [
        ("python", True, f"{platform.python_version()} ({platform.python_implementation()})"),
        ("isolation", *_isolation()),
        ("module", True, str(_pinlink.__file__)),
    ]


def _isolation() -> tuple[bool, str]:
    """Whether Python may open a file and make a socket: a sandbox of MaxCompute's forbids both until it is told."""
    denied = []
    try:
        with open(os.devnull, "rb"):
            pass
    except (OSError, ImportError, RuntimeError) as error:
        denied.append(f"files ({type(error).__name__})")
    try:
        import socket

        socket.socket().close()
    except (OSError, ImportError, RuntimeError) as error:
        denied.append(f"sockets ({type(error).__name__})")
    if denied:
        return False, f"Python may have no {' and no '.join(denied)}: SET odps.isolation.session.enable=true"
    return True, "Python may open files and sockets"
