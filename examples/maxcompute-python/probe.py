"""A function that looks at the way to some targets from inside a job: upload this first.

    SELECT pinlink_probe('https://kms.example,mysql://rds.example:3306', '');
    SELECT pinlink_probe('https://kms.example', 'nameservers=10.0.0.2 connect_timeout=3s');

It tells in one cell what stands between the job and each target, what is probably missing, and what the worker is like.
Without targets it looks at the worker alone. The second argument has options of a client.
"""

import platform
import sys

from odps.udf import annotate

ARCHIVE = "work/pinlink.zip"


def without(targets, error):
    """The report of a worker that can't import pinlink: what it is like, and what lets it."""
    advice = "SET odps.isolation.session.enable=true, and name the ARCHIVE resource pinlink.zip in CREATE FUNCTION"
    facts = [
        ("python", "ok", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("platform", "ok", f"{sys.platform} {platform.machine()}"),
        ("pinlink", "FAILED", f"can't be imported: {type(error).__name__}: {error}; to do: {advice}"),
    ]
    lines = [f"{target}: NOT LOOKED AT" for target in targets]
    return "\n".join([*lines, "this machine", *("  {:<16}{:<8}{}".format(*fact) for fact in facts), ""])


@annotate("string,string->string")
class Probe:
    """The function: targets separated by commas, options by spaces."""

    def evaluate(self, targets, options):
        targets = [target.strip() for target in (targets or "").split(",") if target.strip()]
        options = dict(option.split("=", 1) for option in (options or "").split())
        if ARCHIVE not in sys.path:
            sys.path.insert(0, ARCHIVE)
        try:
            import pinlink
        except Exception as error:  # A sandbox may forbid the import in ways of its own.
            return without(targets, error)
        return str(pinlink.doctor(targets, **options))
