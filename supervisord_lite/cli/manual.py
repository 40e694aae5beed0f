"""README as plain text: its sections, and markdown reduced for a terminal.

Only the markdown that our README has is understood: headings, paragraphs, bullets, tables, fenced
code, emphasis, links. What is no text for a terminal (comments, drawings for a browser) is left
out. Lines have at most 80 columns; code and single long words stay as they are.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from supervisord_lite.cli.text import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEADING = re.compile(r"(#{1,6}) (.+)")
_BULLET = re.compile(r"(?:- |\* |[0-9]+\. )")
_COMMENT = re.compile(r"<!--.*-->")
_RULER = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")
_CELLS = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`[^`]+`")
#: Stands for code while the text around it is looked at.
_HOLE = "\0"
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
_EMPHASIS = re.compile(r"(\*\*|\*)(?=\S)(.+?)(?<=\S)\1")
#: Languages that only a browser draws.
_DRAWINGS = ("mermaid",)
#: A last column that would be narrower is set below the others.
_LEAST_COLUMNS = 30
_GAP = "  "


def read_manual() -> str:
    """Return README as it is shipped with this code.

    Raises:
        OSError: It cannot be read.
    """
    package = Path(__file__).parents[1]
    shipped = package / "share/README.md"
    return (shipped if shipped.is_file() else package.parent / "README.md").read_text("utf-8")


def headings(text: str) -> list[tuple[int, str]]:
    """Return level and words of each heading of a markdown text, in order."""
    return [(level, words) for level, words, _ in _marked(text) if level]


def section(text: str, heading: str) -> str | None:
    """Return the part below *heading*, itself and what is below it included; None: no such one."""
    lines: list[str] = []
    depth = 0
    for level, words, line in _marked(text):
        if depth and level and level <= depth:
            break
        if not depth and words == heading:
            depth = level
        if depth:
            lines.append(line)
    return "\n".join(lines) if depth else None


def _marked(text: str) -> Iterator[tuple[int, str, str]]:
    """Return each line with the level and words of the heading that it is; 0 and "": it is none."""
    is_code = False
    for line in text.splitlines():
        if line.startswith("```"):
            is_code = not is_code
        found = None if is_code else _HEADING.fullmatch(line)
        yield (len(found[1]), found[2], line) if found else (0, "", line)


def plain(markdown: str) -> str:
    """Return *markdown* as text for a terminal of 80 columns."""
    return "\n\n".join(block for block in _blocks(markdown.splitlines()) if block) + "\n"


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    index = 0
    while index < len(lines):
        line = lines[index]
        if line.startswith("```"):
            end = index + 1
            while end < len(lines) and not lines[end].startswith("```"):
                end += 1
            if line[3:].strip() not in _DRAWINGS:
                yield textwrap.indent("\n".join(lines[index + 1 : end]), "    ")
            index = end + 1
        elif not line.strip() or _COMMENT.fullmatch(line.strip()):
            index += 1
        else:
            end = index + 1
            while end < len(lines) and _goes_on(lines[end]):
                end += 1
            yield _block(lines[index:end])
            index = end


def _goes_on(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("```", "#", "<!--"))


def _block(lines: Sequence[str]) -> str:
    heading = _HEADING.fullmatch(lines[0])
    if heading is not None:
        title = inline(heading[2])
        under = "=" if len(heading[1]) <= 2 else "-"
        rest = _block(lines[1:]) if len(lines) > 1 else ""
        return f"{title}\n{under * len(title)}" + (f"\n\n{rest}" if rest else "")
    if lines[0].startswith("|"):
        return _table([_cells(line) for line in lines if not _RULER.fullmatch(line.strip())])
    items: list[list[str]] = [[]]
    for line in lines:
        if _BULLET.match(line) and items[-1]:
            items.append([])
        items[-1].append(line.strip())
    return "\n".join(_wrapped(inline(" ".join(item))) for item in items)


def _wrapped(text: str, *, first: str = "", columns: int = COLUMNS) -> str:
    bullet = _BULLET.match(text)
    indent = " " * (len(bullet[0]) if bullet else len(first))
    return textwrap.fill(
        text, columns, initial_indent=first, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def inline(text: str, *, is_cell: bool = False) -> str:
    """Return a line without emphasis, links by their names; code stays as it is.

    Args:
        text: One line or paragraph.
        is_cell: Of a table: code stands there without its quotes.
    """
    codes = _CODE.findall(text)
    # Code may stand within emphasis and names of links, and they never in it.
    bare = _LINK.sub(_link, _EMPHASIS.sub(r"\2", _CODE.sub(_HOLE, text)))
    for code in codes:
        bare = bare.replace(_HOLE, code.strip("`") if is_cell else code, 1)
    return bare.replace("\\|", "|")


def _link(match: re.Match[str]) -> str:
    name, target = match[1], match[2]
    is_far = target.startswith(("http:", "https:"))
    return f"{name} ({target})" if is_far and name not in target else name


def _cells(line: str) -> list[str]:
    return [inline(cell.strip(), is_cell=True) for cell in _CELLS.split(line.strip())[1:-1]]


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    shown = [head, *body] if any(head) else body
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    before = sum(widths[:-1]) + len(_GAP) * (len(head) - 1)
    if before + min(widths[-1], _LEAST_COLUMNS) > COLUMNS:
        return _entries(head, body)
    lines = [_row(row, widths, before) for row in shown]
    if any(head):
        last = min(widths[-1], COLUMNS - before)
        lines.insert(1, _GAP.join("-" * width for width in (*widths[:-1], last)))
    return "\n".join(lines)


def _row(row: Sequence[str], widths: Sequence[int], before: int) -> str:
    first = "".join(f"{cell:{width}}{_GAP}" for cell, width in zip(row, widths[:-1], strict=False))
    assert len(first) == before
    return _wrapped(row[-1], first=first).rstrip() if row[-1] else first.rstrip()


def _entries(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns do not fit side by side, a paragraph for each row.

    A last column without a title is what there is to say; it comes first.
    """
    found = []
    for row in body:
        notes = [
            f"{title}: {cell}"
            for title, cell in zip(head[1:], row[1:], strict=True)
            if title and cell
        ]
        if not head[-1]:
            notes = [row[-1], "; ".join(notes)]
        lines = [_wrapped(note, first="    ") for note in notes if note]
        found.append("\n".join((_wrapped(row[0]), *lines)))
    return "\n\n".join(found)
