"""A command line in one text becomes words, as a POSIX shell would split it, without a shell.

`shlex.split` means the same, and takes the square of the longest word's length to say it.
"""

from __future__ import annotations

import re

#: What follows at one place, one of: a blank, plain characters, '…', "…", an escaped character.
_PART = re.compile(
    r"""[ \t\r\n]+|([^ \t\r\n'"\\]+)|'([^']*+)'|"([^"\\]*+(?:\\.[^"\\]*+)*+)"|\\(.)""", re.DOTALL
)
_ESCAPE = re.compile(r'\\(["\\])')


class SplitError(ValueError):
    """A quote is not closed, or a backslash stands at the end."""


def split_words(text: str) -> list[str]:
    r"""Return the words of *text*, quotes and backslashes resolved.

    In "…" a backslash escapes `"` and itself only; in '…' nothing is special.

    Raises:
        SplitError: *text* ends inside a quotation or behind a backslash.
    """
    words: list[str] = []
    parts: list[str] | None = None
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            message = "no escaped character" if text[position] == "\\" else "no closing quotation"
            raise SplitError(message)
        position = part.end()
        if part.lastindex is None:
            if parts is not None:
                words.append("".join(parts))
            parts = None
            continue
        inner = part[part.lastindex]
        parts = [] if parts is None else parts
        parts.append(_ESCAPE.sub(r"\1", inner) if part.lastindex == 3 else inner)
    return words if parts is None else [*words, "".join(parts)]
