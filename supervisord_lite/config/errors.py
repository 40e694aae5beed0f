"""What is wrong in a configuration, with its place, and how it is shown."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 80
#: Nobody reads more; the first ones are often the cause of the others.
_MOST_SHOWN = 100


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        file: As typed.
        line: From 1; 0 when it is about the whole file (missing, unreadable).
        column: From 1, in characters.
        message: What is wrong; one sentence without a full stop.
        hint: The way out; empty when there is none.
        source: The line itself, for showing; empty where it must not be shown.
        length: Characters that are meant, from `column` on.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    source: str = ""
    length: int = 1


class ConfigurationError(SupervisordLiteError):
    """The configuration is wrong; nothing was changed.

    The message is what a person reads: the problems as `render` shows them, and how many.

    Attributes:
        problems: All of them, at least one, in the order of files and lines.
        warnings: What is allowed and probably not meant, in the same order.
        files: Those that were read, as typed.
    """

    exit_code = exit_codes.CONFIGURATION

    def __init__(
        self,
        problems: Iterable[Problem],
        *,
        warnings: Iterable[Problem] = (),
        files: Iterable[str] = (),
    ) -> None:
        """Take every problem that was found, in any order; doubles are told once.

        Args:
            problems: At least one.
            warnings: Told behind them.
            files: The files that were read, in the order of force; without: those with problems.
        """
        self.problems = in_order(problems, files)
        self.warnings = in_order(warnings, files)
        assert self.problems
        shown = [render(self.problems)]
        if self.warnings:
            shown.append(render(self.warnings, "warning"))
        self.files = tuple(files) or tuple({problem.file: 1 for problem in self.problems})
        found = ", ".join(
            f"{len(some):,} {kind}{'s' * (len(some) != 1)}"
            for some, kind in ((self.problems, "error"), (self.warnings, "warning"))
            if some
        )
        where = "1 file" if len(self.files) == 1 else f"{len(self.files)} files"
        super().__init__("\n".join([*shown, f"{found} in {where}."]))


def in_order(problems: Iterable[Problem], files: Iterable[str] = ()) -> tuple[Problem, ...]:
    """Return *problems* by file and line, doubles left out.

    Files stand in the order of *files*, those that it lacks in the order in which they were met.
    """
    unique = dict.fromkeys(problems)
    names = dict.fromkeys([*files, *(problem.file for problem in unique)])
    rank = {name: index for index, name in enumerate(names)}
    return tuple(sorted(unique, key=lambda problem: (rank[problem.file], problem)))


def render(problems: Iterable[Problem], kind: str = "error") -> str:
    """Return *problems* as people read them, each with its line, a mark under the place, a hint.

    Lines are at most 80 columns wide where words allow it; a source line that is longer is cut
    around the place. Control characters never reach the terminal. Behind the first hundred it says
    how many there are more.

    Args:
        problems: In the order wanted.
        kind: "error" or "warning".
    """
    found = list(problems)
    lines = [line for problem in found[:_MOST_SHOWN] for line in _render_one(problem, kind)]
    more = len(found) - _MOST_SHOWN
    if more > 0:
        lines.append(f"and {more:,} more {kind}{'s' * (more > 1)}; check --json prints them all")
    return "\n".join(lines)


def _render_one(problem: Problem, kind: str) -> list[str]:
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    # Tools look for the place and the kind in one line, however long the path is.
    lines = _wrap(problem.message, _plain(f"{place}: {kind}: "), "  ")
    margin = " " * (len(str(problem.line)) + 2)
    if problem.source:
        source, start, length = _window(problem, _WIDTH - len(margin) - 3)
        lines.append(f"  {problem.line} | {_plain(source)}".rstrip())
        lines.append(f"{margin} | {' ' * start}{'^' * length}")
    if problem.hint:
        lines.extend(_wrap(problem.hint, f"{margin} = ", f"{margin}   "))
    return lines


def _wrap(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        _plain(text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _window(problem: Problem, width: int) -> tuple[str, int, int]:
    """Return the part of the source line to show, and where the mark stands in it."""
    source = problem.source.rstrip()
    start = problem.column - 1
    length = max(1, min(problem.length, len(source) - start))
    if len(source) <= width:
        return source, start, length
    # Show some of what stands before the place, and as much behind it as fits.
    first = min(max(0, start - width // 3), len(source) - width)
    shown = source[first : first + width]
    if first:
        shown = "…" + shown[1:]
    if first + width < len(source):
        shown = shown[:-1] + "…"
    return shown, start - first, max(1, min(length, width - (start - first)))


def _plain(text: str) -> str:
    """Return *text* with one visible character for each that would move the cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in text)
