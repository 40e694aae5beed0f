"""Values that nobody should read over a shoulder: by the names of their variables.

Imported by the supervisor, which shows what a reload changes: no `re`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A variable whose name holds one of these is not shown.
_WORDS = (
    *("PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "DSN", "_URL", "_URI", "AUTH"),
    *("COOKIE", "PRIVATE"),
)
HIDDEN = "***"
#: What is shorter stands in too many texts by chance.
_LEAST_CHARACTERS = 4
#: A command in one text is divided at spaces: of a longer value nobody looks for the parts.
_MOST_DIVIDED = 1024


def is_secret(name: str) -> bool:
    """Return whether a variable's name looks as if its value were a secret."""
    upper = name.upper()
    return any(word in upper for word in _WORDS)


def secrets_of(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the texts to be hidden because of *variables*, longer ones first.

    A value that is divided where a command stands in one text counts with its parts.
    """
    found = set()
    for name, value in variables.items():
        if is_secret(name):
            found.add(value)
            if len(value) <= _MOST_DIVIDED:
                found.update(value.split())
                found.update(value.translate(_UNQUOTED).split())
    return tuple(
        sorted((text for text in found if len(text) >= _LEAST_CHARACTERS), key=_longer_first)
    )


def masked(value: object, secrets: Iterable[str]) -> object:
    """Return *value* with `HIDDEN` in place of each secret in it, or in what it consists of."""
    if isinstance(value, list):
        return [masked(item, secrets) for item in value]
    if isinstance(value, dict):
        return {
            name: HIDDEN if is_secret(name) else masked(item, secrets)
            for name, item in value.items()
        }
    if isinstance(value, str):
        for secret in secrets:
            if secret in value:
                value = value.replace(secret, HIDDEN)
    return value


_UNQUOTED = str.maketrans("", "", "\\'\"")


def _longer_first(text: str) -> tuple[int, str]:
    return -len(text), text
