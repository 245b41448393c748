"""Header fields as a mapping."""

from __future__ import annotations

import collections.abc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Mapping, Tuple

    _Fields = Mapping[str, str]
else:
    _Fields = collections.abc.Mapping


class Headers(_Fields):
    """Header fields: a mapping whose names know no case. Fields of one name are joined by a comma and a blank."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[Tuple[str, str]] = ()) -> None:
        self._pairs = [(name.lower(), value) for name, value in pairs]

    def get_list(self, name: str) -> List[str]:
        """Every value of a field, in the order in which they came; ``Set-Cookie`` can't be joined."""
        name = name.lower()
        return [value for known, value in self._pairs if known == name]

    def pairs(self) -> List[Tuple[str, str]]:
        """All fields as they came, names in lower case."""
        return list(self._pairs)

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._pairs))

    def __len__(self) -> int:
        return len({name for name, _ in self._pairs})

    def __repr__(self) -> str:
        # Values may hold secrets.
        return f"Headers({list(self)})"
