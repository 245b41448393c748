"""What became of a write."""

import enum


class Outcome(str, enum.Enum):
    """What became of a write. Each member equals its name as text: ``Outcome.APPLIED == "Applied"``."""

    APPLIED = "Applied"
    """It had its effect."""
    ALREADY_APPLIED = "AlreadyApplied"
    """An earlier request under the same key had its effect: an earlier try, an earlier execution, or a twin."""
    REJECTED = "Rejected"
    """It had none: the target refused it, or nothing was sent."""
    UNKNOWN = "Unknown"
    """It may have had its effect. ``Error.delivery`` and ``Error.phase`` say what that rests on."""

    def __str__(self) -> str:
        return str.__str__(self)
