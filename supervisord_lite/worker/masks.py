"""Secrets that this process was given, out of what our runtime says for it.

Only the worker's own process knows them, so only it can hide them: in the reason of a crash, its
traceback, and in what the target reports of itself. What the target prints is its own.

``SUPERVISORD_LITE_SECRETS`` names them; the values stand in the variables of these names, or in the
files that NAME_FILE names. They are looked for as they are and as others write them: escaped (repr,
JSON, an address), in base64, and the longer lines of one that has several.
"""

from __future__ import annotations

import binascii
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAMES = "SUPERVISORD_LITE_SECRETS"
HIDDEN = "***"
#: What is shorter stands in too many texts by chance.
_LEAST = 4
_LEAST_LINE = 8
#: A secret in a file may be a whole store of keys: nobody quotes all of that.
_MOST_BYTES = 64 * 1024
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")


class Masks:
    """What is not to be said."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Take the values; nothing is hidden where there are none."""
        found = {form for value in values for form in _forms(value) if len(form) >= _LEAST}
        # Longer ones first: one may be a part of another.
        self._forms = sorted(found, key=len, reverse=True)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Masks:
        """Return those of the secrets that a worker with this environment was given."""
        return cls(_values(environ))

    def masked(self, text: str) -> str:
        """Return *text* with *** in place of each secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text


def _values(environ: Mapping[str, str]) -> Iterator[str]:
    for name in environ.get(NAMES, "").split():
        if name in environ:
            yield environ[name]
        if f"{name}_FILE" in environ:
            try:
                with open(environ[f"{name}_FILE"], "rb") as file:  # noqa: PTH123
                    data = file.read(_MOST_BYTES)
            except OSError:
                continue  # taken away already; then nobody can read it either
            yield os.fsdecode(data).rstrip("\n")


def _forms(value: str) -> Iterator[str]:
    data = os.fsencode(value)
    yield value
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    for kept in (_PLAIN, _PLAIN | {ord("/")}):
        yield "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in data)
    yield binascii.b2a_base64(data, newline=False).decode("ascii").rstrip("=")
    if "\n" in value:
        yield from (line.strip() for line in value.split("\n") if len(line.strip()) >= _LEAST_LINE)
