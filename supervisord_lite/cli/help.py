"""`help`: the topics; a section of README, a verb's options, a key of the configuration.

A word may be several of them (`logs` is a verb and a section, `restart` a verb and a key): then all
are told, the short ones first.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.base.suggest import nearest
from supervisord_lite.cli import verbs
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.manual import plain, read_manual, section
from supervisord_lite.cli.text import COLUMNS, fold
from supervisord_lite.cli.topics import ALIASES, OF_VERBS, TOPICS
from supervisord_lite.config import later, reference
from supervisord_lite.config.words import foreign_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisord_lite.config.reference import Group, Key

_HOLDS = {
    "live": "live: another value holds at once",
    "reopen": "reopen: output goes on elsewhere, the process is not touched",
    "restart": "restart: the processes are replaced",
    "next start": "another value holds after the next start of the daemon",
    "": "what else changes with it decides",
}
_NAME_COLUMNS = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `help` understands."""
    what = "a topic, a verb, or a key of the configuration; without one: the list of topics"
    parser.add_argument("topic", metavar="TOPIC", nargs="?", help=what)
    parser.add_argument("--no-pager", action="store_true", help="print it all at once")


def run(arguments: argparse.Namespace) -> int:
    """Print what is known of a word.

    Raises:
        UsageError: The word is nothing that is known.
    """
    word = arguments.topic
    text = topics() if word is None else told_of(word)
    _show(text, may_page=word is not None and not arguments.no_pager)
    return exit_codes.OK


def topics() -> str:
    """Return the list of topics."""
    lines = ["supervisord-lite help TOPIC", ""]
    lines += [f"  {topic.name:<{_NAME_COLUMNS}} {topic.text}" for topic in TOPICS]
    lines += [
        "",
        "help VERB tells the options of a verb (supervisord-lite --help lists them),",
        "help KEY a key of the configuration: help stop_timeout, help backoff.",
    ]
    return "\n".join(lines) + "\n"


def told_of(word: str) -> str:
    """Return all that is known of *word*, as text.

    Raises:
        UsageError: The word is nothing that is known.
    """
    parts = [*_of_verb(word), *_of_keys(word), *_of_topic(word)]
    if not parts:
        raise unknown(word)
    return "\n".join(parts)


def unknown(word: str) -> UsageError:
    """Return the error for a word that is no topic, no verb and no key."""
    if word in later.WORKER or word in later.TOP:
        return UsageError(f'"{word}" is not in this version')
    known = [topic.name for topic in TOPICS] + list(ALIASES) + list(verbs.HELP)
    known += [key.key for _, key in reference.every()]
    known += [key.key.rpartition(".")[2] for _, key in reference.every()]
    elsewhere = foreign_key(word, "…")
    near = nearest(word.lower(), known) if not elsewhere else None
    message = f'there is no topic "{word}"' + (f"; did you mean {near}?" if near else "")
    return UsageError(message, hint=elsewhere or "supervisord-lite help lists the topics")


def _of_verb(word: str) -> Iterator[str]:
    if word in verbs.HELP:
        text = verbs.parser_for(word, verbs.load(word)).format_help()
        more = OF_VERBS.get(word)
        yield f"{text}\nmore: supervisord-lite help {more}\n" if more else text


def _of_keys(word: str) -> Iterator[str]:
    is_topic = any(topic.name == word for topic in TOPICS)
    for group, key in reference.find(word):
        if key.key == word or not is_topic:  # else its section has a table of them
            yield key_text(group, key)


def _of_topic(word: str) -> Iterator[str]:
    name = ALIASES.get(word, word)
    for topic in TOPICS:
        if topic.name == name:
            found = section(_manual(), topic.heading)
            if found is not None:
                yield plain(found)


def _manual() -> str:
    try:
        return read_manual()
    except OSError as error:
        message = f"README cannot be read: {error.strerror}"
        raise SupervisordLiteError(message) from error


def key_text(group: Group, key: Key) -> str:
    """Return what is known of one key."""
    where = "[worker.NAME] and [defaults]" if group.table == "worker" else f"[{group.table}]"
    where = "[worker.NAME]" if key.key == "extends" else where
    topic = next(t.name for t in TOPICS if t.name == group.topic)
    rows = {
        "value": key.kind,
        "default": reference.default_of(key),
        "example": reference.example_of(key),
        "in": where,
        "reload": _HOLDS[key.holds],
        "see": f"supervisord-lite help {topic}",
    }
    lines = [key.key]
    lines += textwrap.wrap(
        f"{key.text}.", COLUMNS, initial_indent="  ", subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    lines += [fold(f"  {name:<9}{text}", indent=11) for name, text in rows.items()]
    return "\n".join(lines) + "\n"


def _show(text: str, *, may_page: bool) -> None:
    """Print *text*; through a pager where somebody looks at it and it is long."""
    pager = _pager() if may_page and sys.stdout.isatty() else []
    height = shutil.get_terminal_size().lines
    if not pager or text.count("\n") < height:
        print(text, end="")
        return
    sys.stdout.flush()
    environment = {"LESS": "FRX", **os.environ}
    with subprocess.Popen(pager, stdin=subprocess.PIPE, env=environment) as process:
        # Ctrl-C is for the pager: it shows what there is, or ends.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.communicate(text.encode())
        signal.signal(signal.SIGINT, before)


def _pager() -> list[str]:
    """Return the command of the reader's pager; empty: there is none."""
    try:
        words = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:
        return []
    return words if words and shutil.which(words[0]) else []
