"""What README and the shipped configuration say of the code, made from the code.

`python -m tests.support.readme` writes it in place. In README it stands between marks::

    <!-- made: NAME -->
    <!-- /made -->
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby

from supervisord_lite.base import exit_codes
from supervisord_lite.config import reference
from supervisord_lite.config.reference import Group, Key
from supervisord_lite.core.states import NEXT, Stopped
from tests.support.daemon import CHECKOUT

README = CHECKOUT / "README.md"
REFERENCE = CHECKOUT / "config/supervisord-lite.toml"
COMMAND = "python -m tests.support.readme"
_MADE = re.compile(
    r"(?<=^<!-- made: )([a-z-]+)( -->\n)(.*?)(?=^<!-- /made -->$)", re.MULTILINE | re.DOTALL
)
_CODE = re.compile(r"^([A-Z_]+) = ([0-9]+)  #: (.+)$", re.MULTILINE)
#: In quotes or angles, and not within code.
_TYPED = re.compile(r'(?<!`)(?:"[^"]*"|<[^>]*>|\$\{?\w+\}?(?:/[\w-]+)?)(?!`)')
_COLUMNS = 80

#: Above the commented keys of each table in the shipped file.
_HEAD = """\
# Every key of supervisord-lite.
#
# A key behind a # is switched off, and shows its default, or, where there is none, an
# example. Copy what you need. `supervisord-lite help KEY` tells the same, and
# `supervisord-lite check -c FILE` judges a file.
#
# Durations are "500ms", "10s", "1h30m" or seconds; sizes "64K", "2G" or bytes; relative
# paths are relative to this file. %i is the number of the instance. ${NAME} and
# ${NAME:-default} come from the environment of the daemon.
"""
_DEFAULTS = """\
# Any key of a worker but `extends`: for every worker that does not say otherwise.

[defaults]
"""
_WORKER = """\
# A worker; as many as you like, each with a name of its own. It needs a command, or
# python.

[worker.example]
"""


def made(name: str) -> str:
    """Return one block of README, without its marks."""
    blocks = {group.name: group for group in reference.GROUPS}
    if name.startswith("keys-"):
        return keys_table(blocks[name.removeprefix("keys-")])
    return {"exit-codes": exit_table, "states": state_table, "diagram": diagram}[name]()


def readme(text: str) -> str:
    """Return *text* with each block as it is made now."""
    return _MADE.sub(lambda found: f"{found[1]}{found[2]}{made(found[1])}\n", text)


def blocks_of(text: str) -> list[str]:
    """Return the names of the blocks in README."""
    return [found[1] for found in _MADE.finditer(text)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def keys_table(group: Group) -> str:
    """Return the table of one group of keys; those that are told in the same words share a row."""
    lines = ["| key | value | default | reload | |", "|---|---|---|---|---|"]
    for same, keys in groupby(group.keys, key=lambda key: key[1:]):
        key = Key("", *same)
        names = [each.key for each in keys]
        table = names[0].rpartition(".")[0]
        shown = [f"`{names[0]}`"] + [f"`{name.removeprefix(table)}`" for name in names[1:]]
        default = f"`{key.default}`" if key.default else ""
        default = "; ".join(filter(None, (default, _code(key.otherwise))))
        cells = (", ".join(shown), _code(key.kind), default, key.holds, _code(key.text))
        lines.append(_row(cells))
    return "\n".join(lines)


def _code(text: str) -> str:
    """Return *text* with what is typed marked as code."""
    return _TYPED.sub(r"`\g<0>`", text)


def exit_table() -> str:
    """Return the exit codes with what is said behind each in their module."""
    source = inspect.getsource(exit_codes)
    of_verbs, of_run = source.split("# Of `run`")
    lines = ["| of | code | |", "|---|---|---|"]
    for title, part in (("a verb", of_verbs), ("`run`", of_run)):
        found = [(number, text) for _, number, text in _CODE.findall(part)]
        if title == "`run`":
            found.insert(0, ("0", "stopped as asked"))
        lines += [_row((title, number, text)) for number, text in found]
    return "\n".join(lines)


def state_table() -> str:
    """Return the table of legal moves."""
    width = max(len(state.__name__) for state in NEXT)
    lines = [
        f"{state.__name__.lower():{width}} → {', '.join(sorted(s.__name__.lower() for s in after))}"
        for state, after in NEXT.items()
    ]
    return "```text\n" + "\n".join(lines) + "\n```"


def diagram() -> str:
    """Return the same moves as a drawing."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Stopped.__name__.lower()}"]
    for state, after in NEXT.items():
        names = sorted(each.__name__.lower() for each in after)
        lines += [f"    {state.__name__.lower()} --> {name}" for name in names]
    return "\n".join([*lines, "```"])


def shipped() -> str:
    """Return the configuration file with every key."""
    parts = [_HEAD]
    for table, groups in groupby(reference.GROUPS, key=lambda group: group.table):
        if table == "worker":
            parts += [_DEFAULTS, _WORKER]
        else:
            parts.append(f"[{table}]\n")
        for group in groups:
            if table == "worker":
                parts.append(f"# {'-' * 3} {group.title}\n")
            parts += _lines(group.keys)
    return "\n".join(parts)


def _lines(keys: Iterable[Key]) -> Iterator[str]:
    for same, group in groupby(keys, key=lambda key: key[1:]):
        key = Key("", *same)
        default = "" if key.default and not key.otherwise else reference.default_of(key)
        kind = f"{key.kind[0].upper()}{key.kind[1:]}"
        notes = [f"{kind}." if kind[-1] != "." else kind]
        notes += [f"Default: {default}."] if default else []
        notes += [f"Reload: {key.holds}."] if key.holds else []
        text = f"{key.text[0].upper()}{key.text[1:]}."
        lines = [*_wrapped(text), *_wrapped(" ".join(notes))]
        for each in group:
            is_on = each.key == "command"
            lines.append(f"{'' if is_on else '#'}{reference.example_of(each)}")
        yield "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _COLUMNS, initial_indent="# ", subsequent_indent="# ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def main() -> int:
    """Write both files; say which ones were not as they should be."""
    for path, text in ((README, readme(README.read_text())), (REFERENCE, shipped())):
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{path.name}: written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
