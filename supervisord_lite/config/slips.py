"""What people meant when they wrote what is not TOML: a cause and a cure for tomllib's messages.

tomllib stops at the first character that it cannot read. The slip is often elsewhere: a bracket
opened ten lines above, a value without quotes, a table that was declared before.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from supervisord_lite.config.locate import (
    MULTI_LINE_TABLE,
    NEW_ESCAPE,
    STRINGS,
    TRAILING_COMMA,
    Locations,
    Path,
    Span,
    locate,
)

if TYPE_CHECKING:
    from supervisord_lite.config.errors import Problem
    from supervisord_lite.config.source import Source

#: Everything that may hide or open a bracket. A quote that closes nothing comes as "open".
_LEX = re.compile(
    rf"{STRINGS[0]}|{STRINGS[1]}|(?P<open>\"\"\"|''')|{STRINGS[2]}|{STRINGS[3]}"
    r"|(?P<quote>[\"'])|\#[^\n]*|(?P<bracket>[\[\]{}])",
    re.DOTALL,
)
#: More levels of tables and lists are no configuration, and not every Python can walk them.
MAX_DEPTH = 64
# A quote behind a backslash opens nothing; to try there would take the square of the time.
_ENDLESS_KEY = re.compile(
    r"(?<![A-Za-z0-9_\\-])"
    rf"""(?:(?:[A-Za-z0-9_-]++|{STRINGS[2]}|{STRINGS[3]})[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}"""
)
_WORD = re.compile(r"""[^\s,=#"'\[\]{}]+""")
_NEXT_KEY = re.compile(r"""[ \t]*(?:\[|[A-Za-z0-9_."'-]+[ \t]*=)""")
_HEADER = re.compile(
    r"\[[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_.\"'-]+)?\][ \t]*(?:#.*)?$", re.MULTILINE
)
_FOREIGN_HEADER = re.compile(r"\[(?:program|fcgi-program|eventlistener|watcher)[: ]+([^\]:\s]+)\]")
_CURES = {
    MULTI_LINE_TABLE: "write one dotted key per line: health.http = …, health.interval = …",
    TRAILING_COMMA: "remove the comma, or write one dotted key per line",
    NEW_ESCAPE: r"write \u001b for escape, \u00e9 for the character with number e9",
}
_SPELLINGS = {
    **dict.fromkeys(("true", "yes", "on"), "write true"),
    **dict.fromkeys(("false", "no", "off"), "write false"),
    **dict.fromkeys(("none", "null", "nil"), "leave the key out"),
}


def cure(cause: str) -> str:
    """Return the way out of one of the causes that `locate` names."""
    return _CURES[cause]


def explain(source: Source, message: str, offset: int) -> Problem:
    """Return the problem behind tomllib's *message* (without its place) about *offset*."""
    for look in (_doubled, _unclosed, _unquoted, _other_format):
        problem = look(source, message, offset)
        if problem is not None:
            return problem
    if message.startswith("Unescaped"):
        # tomllib points behind the backslash and its letter.
        hint = r"write \\ for a backslash, or use '…' in which nothing is special"
        return source.problem((offset - 2, offset), message, hint)
    return source.problem((offset, offset + 1), message[:1].lower() + message[1:])


def endless_key(text: str) -> Span | None:
    """Return the place of the first key of more than `MAX_DEPTH` parts; None: there is none.

    Asked before tomllib, which needs the square of the parts in time and memory.
    """
    if text.count(".") < MAX_DEPTH:
        return None
    tokens = _LEX.finditer(text)
    token = next(tokens, None)
    found = _ENDLESS_KEY.search(text)
    while found is not None:
        while token is not None and token.end() <= found.start():
            token = next(tokens, None)
        if token is None or token.start() >= found.start():
            return found.span()
        # Inside a text or a comment dots mean nothing.
        found = _ENDLESS_KEY.search(text, token.end())
    return None


def deepest_bracket(text: str) -> int:
    """Return the offset of the bracket that most others surround."""
    depth = deepest = offset = 0
    for token in _LEX.finditer(text):
        if token["bracket"]:
            depth += 1 if token["bracket"] in "[{" else -1
            if depth > deepest:
                deepest, offset = depth, token.start()
    return offset


def _open_at(text: str, offset: int) -> tuple[list[int], int | None]:
    """Return the brackets that are open at *offset*, and where an open text begins."""
    brackets: list[int] = []
    for token in _LEX.finditer(text, 0, offset):
        if token["open"] or token["quote"]:
            return brackets, token.start()
        if token["bracket"] in ("[", "{"):
            brackets.append(token.start())
        elif token["bracket"] and brackets:
            brackets.pop()
    return brackets, None


def _doubled(source: Source, message: str, offset: int) -> Problem | None:
    """Something was declared before, as something else or the same."""
    if not message.startswith(("Cannot", "Duplicate")):
        return None
    try:
        places = locate(source.text[:offset])
    except (ValueError, RecursionError):  # inside an inline table: the statement has no end yet
        return None
    path, span = places.last
    name = ".".join(part for part in path if isinstance(part, str))
    for length in range(len(path) - 1, 0, -1):
        around = path[:length]
        if around in places.values:
            return _inside_a_value(source, places, around, span)
        if around in places.headers and source.text[span[0]] != "[":
            since = source.place(places.headers[around][0])[0]
            if since != source.place(span[0])[0] and message.startswith("Cannot redefine"):
                what = f"[{'.'.join(map(str, around))}] stands in line {since}"
                return source.problem(span, what, "its keys belong below that header")
    first = source.place(places.keys.get(path, span)[0])[0]
    if source.text[span[0]] != "[":
        return _doubled_key(source, places, path, span)
    if places.headers.get(path, span)[0] != span[0]:
        hint = "put these keys below the first one, or give this table another name"
        return source.problem(span, f"[{name}] stands twice; first in line {first}", hint)
    if path in places.values:
        return source.problem(span, f'"{name}" has a value since line {first}', "keep one of them")
    hint = "put these keys there, in the same way"
    return source.problem(span, f'"{name}" has keys since line {first}', hint)


def _doubled_key(source: Source, places: Locations, path: Path, span: Span) -> Problem:
    key = str(path[-1])
    first = places.keys.get(path, span)
    line = source.place(first[0])[0]
    below = [p for p, s in places.keys.items() if p[:-1] == path and s[0] < span[0]]
    if below:
        text = source.text[slice(*places.values[path])]
        hint = "keep one of them"
        if key == "log":
            hint = f"write log.stdout = {text}"
        return source.problem(span, f'"{key}" is a table since line {line}', hint)
    return source.problem(span, f'"{key}" is set twice; first in line {line}', "keep one of them")


def _inside_a_value(source: Source, places: Locations, around: Path, span: Span) -> Problem:
    key = str(around[-1])
    value = source.text[slice(*places.values[around])]
    line = source.place(places.keys[around][0])[0]
    if value.startswith("{"):
        what = f'"{key}" is an inline table {{ … }} since line {line}: nothing can be added to it'
        hint = f"write all of its keys dotted: {key}.NAME = …"
    else:
        what = f'"{key}" is {value[:30]} since line {line}, and here a table'
        hint = f"write {key}.stdout = {value} in line {line}" if key == "log" else ""
    return source.problem(span, what, hint or "keep one of them")


def _unclosed(source: Source, message: str, offset: int) -> Problem | None:
    """A quote, bracket or brace was opened and not closed."""
    text = source.text
    here = text[offset : offset + 1]
    brackets, quote = _open_at(text, offset)
    if quote is not None and here in ("", "\n"):
        mark = text[quote : quote + 3] if text[quote : quote + 3] in ('"""', "'''") else text[quote]
        what = "this text is never closed"
        return source.problem((quote, quote + 1), what, f"add the missing {mark}")
    if not brackets or _is_torn(text, offset):
        return None
    while len(brackets) > 1 and _is_header(text, brackets[-1]):
        brackets.pop()  # [worker.b] was read as a list inside the list before it
        offset = len(text)
        here = ""
    start = brackets[-1]
    span = (start, start + 1)
    if text[start] == "{":
        before = text[:offset].rstrip()
        if here == "}" and before.endswith(","):
            return source.problem(
                (len(before) - 1, len(before)), TRAILING_COMMA, cure(TRAILING_COMMA)
            )
        if here in ("\n", "#"):
            return source.problem(span, MULTI_LINE_TABLE, cure(MULTI_LINE_TABLE))
        return source.problem(span, 'this "{" is never closed', 'add "}"') if not here else None
    at_key = _NEXT_KEY.match(text, offset) and text[offset - 1 : offset] in ("\n", " ", "\t", ",")
    if not here or at_key:
        return source.problem(span, f'this "{text[start]}" is never closed', 'add "]"')
    if message == "Unclosed array":
        return source.problem((offset, offset + 1), "a comma is missing before this item")
    return None


def _is_header(text: str, offset: int) -> bool:
    begins_line = text[text.rfind("\n", 0, offset) + 1 : offset].strip() == ""
    return begins_line and _HEADER.match(text, offset) is not None


def _is_torn(text: str, offset: int) -> bool:
    """Whether *offset* is inside a word: tomllib has read the 10 of 10m."""
    return bool(_WORD.fullmatch(text[max(0, offset - 1) : offset + 1])) and (0 < offset < len(text))


def _unquoted(source: Source, message: str, offset: int) -> Problem | None:
    """A text stands without quotes, or a word of another language."""
    text = source.text
    line_end = text.find("\n", offset)
    rest = text[offset:] if line_end < 0 else text[offset:line_end]
    rest = rest.split("#")[0].rstrip()
    if message == "Invalid value":
        if not rest:
            return source.problem((offset, offset + 1), "a value is missing here")
        start = offset
    elif _is_torn(text, offset) and message.startswith(("Expected newline", "Unclosed")):
        start = offset
        while start and _WORD.fullmatch(text[start - 1]):
            start -= 1
    else:
        return None
    word = _WORD.match(text, start)
    if word is None:
        return None
    if re.fullmatch("0[0-7]+", word[0]):
        hint = f'write "{word[0]}" or 0o{word[0]} for an octal number'
        return source.problem(word.span(), "a number does not begin with 0", hint)
    hint = _SPELLINGS.get(word[0].lower(), "")
    if not hint:
        whole = word[0] if _open_at(text, start)[0] else text[start : offset + len(rest)]
        quoted = f"'{whole}'" if '"' in whole and "'" not in whole else json.dumps(whole)
        hint = f"a text stands in quotes: {quoted}"
    return source.problem(word.span(), f"{word[0]} is not a value of TOML", hint)


def _other_format(source: Source, message: str, offset: int) -> Problem | None:
    """The file, or a line of it, is in the language of another program."""
    text = source.text
    here = text[offset : offset + 1]
    if here == "\ufeff":
        what = "the file begins with a byte order mark"
        return source.problem((offset, offset + 1), what, "save it as UTF-8 without one")
    if message == "Invalid statement" and here == ";":
        return source.problem((offset, offset + 1), message, "a comment begins with #")
    if message.startswith("Expected '='"):
        hint = "TOML writes key = value" + (", not key: value" if here == ":" else "")
        return source.problem((offset, offset + 1), "expected = after a key", hint)
    if message.startswith("Expected ']'"):
        start = text.rfind("\n", 0, offset) + 1
        header = _FOREIGN_HEADER.match(text, start)
        what = "this header has no ] where its name ends"
        if header:
            hint = f"write [worker.{header[1]}]"
            return source.problem(header.span(), "this is no TOML header", hint)
        return source.problem((offset, offset + 1), what, "names: letters, digits, _ and -")
    if message.startswith("Expected newline"):
        what = "expected the end of the line"
        return source.problem((offset, offset + 1), what, "one key = value per line")
    return None
