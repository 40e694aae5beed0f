"""``${NAME}`` in texts, and the files that set variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.errors import Problem
    from supervisord_lite.config.source import Source

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\})?")
#: The same where no brace follows.
_ENDLESS = re.compile(r"\$\$\{|\$\{")
_ASSIGNMENT = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=")
_VALUE = re.compile(
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)')[ \t]*|(?P<bare>[^"'\n].*|)"""
)


class Filled(str):
    """A text that came out of one with references: it may spell a number or a truth value."""

    __slots__ = ()


class Failure(NamedTuple):
    """A reference that has no value: the text of it, its name ("" when it is malformed)."""

    reference: str
    name: str


def substitute(text: str, variables: Mapping[str, str]) -> tuple[str, list[Failure]]:
    """Return *text* with its references replaced, and those that could not be, each once.

    ``${NAME}`` is the variable; ``${NAME:-default}`` is the default where the variable is unset or
    empty, as in a shell, and holds no other reference; ``$${`` is a literal ``${``. A value is
    taken as it is, not read again.
    """
    failures: list[Failure] = []

    def value_of(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1] if match.lastindex else None
        if name is None or "${" in (match[3] or ""):
            failures.append(Failure(match[0], ""))
            return match[0]
        value = variables.get(name)
        if match[2] is not None:
            return value or match[3]
        if value is None:
            failures.append(Failure(match[0], name))
            return match[0]
        return value

    # Behind the last brace no reference ends; to look for its end from each beginning would take
    # the square of the time.
    end = text.rfind("}") + 1
    replaced = _REFERENCE.sub(value_of, text[:end]) + _ENDLESS.sub(value_of, text[end:])
    return Filled(replaced), list(dict.fromkeys(failures))


def parse_environment(source: Source) -> tuple[dict[str, str], list[Problem]]:
    r"""Return the variables that an environment file sets, and what is wrong in it.

    One NAME=value per line; empty lines and lines that begin with # or ; mean nothing. A value may
    stand in "…" (backslash escapes the next character, \n is a line end) or '…' (nothing is
    special); else it goes to the end of the line without the spaces around it. Nothing is
    expanded: a $ is a $.
    """
    variables: dict[str, str] = {}
    problems: list[Problem] = []
    offset = 0
    for line in source.text.split("\n"):
        start = offset
        offset += len(line) + 1
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        name = _ASSIGNMENT.match(line)
        value = _VALUE.fullmatch(line, name.end()) if name else None
        if name is None:
            problems.append(_problem(source, start, "expected NAME=value"))
        elif value is None or "\0" in line:
            what = f"{name[1]}: the quotes around the value do not match"
            problems.append(_problem(source, start + name.end(), what))
        elif value["double"] is not None:
            variables[name[1]] = re.sub(r"\\(.)", _unescaped, value["double"])
        else:
            variables[name[1]] = value["single"] or (value["bare"] or "").strip()
    return variables, problems


def _problem(source: Source, offset: int, message: str) -> Problem:
    # Such files hold secrets: the place is told, the line is not shown.
    return source.problem((offset, offset + 1), message)._replace(source="")


def _unescaped(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
