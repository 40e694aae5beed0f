"""The verbs: which there are, what each is for, and what other tools call them."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol

from supervisord_lite.base import exit_codes
from supervisord_lite.base.suggest import nearest
from supervisord_lite.cli import place, terminal
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.text import printable

#: Every verb of this version, in the order of the overview.
HELP = {
    "run": "run the daemon, in the foreground",
    "check": "judge a configuration file, offline; exit 78 on errors",
    "status": "what runs, a line per pool; problems last",
    "start": "start workers and wait until they are ready",
    "stop": "stop workers and wait until nothing of them is left",
    "restart": "stop and start workers",
    "wait": "wait until workers are ready; --for stopped, --for exited",
    "reload": "put the changed file in force; --dry-run says what changes",
    "scale": "another number of instances: scale web=4",
    "reset": "close a tripped breaker and start again",
    "signal": "send a signal to the leader of each worker",
    "logs": "the last lines of output; -f follows",
    "why": "why a worker is as it is: its story, last words, what decided",
    "events": "what happened, and who asked for it; -f follows",
    "metrics": "the status in the format of Prometheus, as http serves it",
    "doctor": "what is wrong with file, box, unit and daemon, and the remedy",
    "install-unit": "write the systemd units of this installation",
    "upgrade": "put the version of this command in force; no worker is restarted",
    "shutdown": "stop everything in order and end the daemon",
    "version": "of this command and of the daemon",
    "help": "topics, keys of the configuration and verbs: help TOPIC",
}

#: Verbs that talk to a daemon, and so take --socket and -i.
_LOCAL = frozenset({"run", "check", "install-unit", "help"})

#: Fixed names that come with a later version.
_LATER = frozenset(
    {"exec", "top",
     "import", "export", "init", "task", "queue", "lock", "agent", "fleet"}
)  # fmt: skip

#: What supervisorctl and systemctl call it: (whose word, what to do here).
_ELSEWHERE = {
    "update": ("supervisorctl's update", "reload"),
    "reread": ("supervisorctl's reread", "reload --dry-run"),
    "tail": ("supervisorctl's tail", "logs"),
    "maintail": ("supervisorctl's maintail", "journalctl -u supervisord-lite"),
    "fg": ("supervisorctl's fg", "logs -f"),
    "pid": ("supervisorctl's pid", "status --json"),
    "avail": ("supervisorctl's avail", "status"),
    "add": ("supervisorctl's add", "write the worker into the file, then reload"),
    "remove": ("supervisorctl's remove", "take the worker out of the file, then reload"),
    "quit": ("supervisorctl's quit", "shutdown"),
    "exit": ("supervisorctl's exit", "shutdown"),
    "kill": ("systemctl's kill", "signal SIG NAME"),
    "show": ("systemctl's show", "status --json NAME"),
    "cat": ("systemctl's cat", "check"),
    "list-units": ("systemctl's list-units", "status"),
    "ps": ("docker's ps", "status"),
    "is-active": ("systemctl's is-active", "status --check NAME"),
    "is-failed": ("systemctl's is-failed", "status --check NAME"),
    "reset-failed": ("systemctl's reset-failed", "reset"),
    "try-restart": ("systemctl's try-restart", "restart"),
    "reload-or-restart": ("systemctl's reload-or-restart", "reload"),
    "daemon-reload": ("systemctl's daemon-reload", "reload"),
    "daemon-reexec": ("systemctl's daemon-reexec", "upgrade"),
    "enable": ("systemctl's enable", "autostart = true in the file, then reload"),
    "disable": ("systemctl's disable", "autostart = false in the file, then reload"),
}


class Verb(Protocol):
    """A verb's module."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare options and arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit code."""


class _Parser(argparse.ArgumentParser):
    """Tells mistakes as every other error is told."""

    def error(self, message: str) -> NoReturn:
        """Print *message* and end with 2."""
        if sys.stderr is not None:
            text = f"{self.prog.replace(' ', ': ', 1)}: {message}"
            print(printable(text), file=sys.stderr)
            print(f"  {self.prog} --help", file=sys.stderr)
        sys.exit(exit_codes.USAGE)


class _Formatter(argparse.HelpFormatter):
    """As it is there, but for the way to the width."""

    def __init__(self, prog: str) -> None:
        """Leave the margin that argparse leaves."""
        super().__init__(prog, width=terminal.columns() - 2)


def split(words: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Return the options before the verb, the verb (None: there is none), and the rest."""
    index = 0
    while index < len(words) and words[index].startswith("-"):
        # These two take a value as the next word; `--socket=X` and `-iX` are one word.
        index += 2 if words[index] in {"--socket", "-i", "--instance"} else 1
    if index >= len(words):
        return list(words), None, []
    return list(words[:index]), words[index], list(words[index + 1 :])


def module_of(verb: str) -> str:
    """Return the name of the module of one verb."""
    return f"supervisord_lite.cli.{verb.replace('-', '_')}"


def load(verb: str) -> Verb:
    """Import the module of one verb."""
    module: Verb = importlib.import_module(module_of(verb))
    return module


def parser_for(verb: str, module: Verb) -> argparse.ArgumentParser:
    """Return the parser of one verb."""
    parser = _Parser(
        prog=f"supervisord-lite {verb}",
        description=HELP[verb] + ".",
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    module.add_arguments(parser)
    if verb not in _LOCAL:
        place.add_arguments(parser)
    return parser


def overview() -> str:
    """Return what `supervisord-lite --help` prints."""
    lines = ["usage: supervisord-lite VERB [NAME...]", ""]
    lines.extend(f"  {verb:<12} {text}" for verb, text in HELP.items())
    lines += [
        "",
        "NAME is a worker (web-1), a pool (web), a glob ('web*') or all.",
        "--socket PATH or -i INSTANCE says which daemon; --json suits programs.",
        "supervisord-lite VERB --help tells the options of a verb, help TOPIC the rest.",
    ]
    return "\n".join(lines)


def unknown(verb: str) -> UsageError:
    """Return the error for a word that is no verb, with the way out."""
    if verb in _LATER:
        return UsageError(f'"{verb}" is not in this version')
    if verb.startswith("-"):
        return UsageError(f"the option {verb} does not stand before the verb")
    text = f'no verb "{verb}"'
    if verb in _ELSEWHERE:
        whose, ours = _ELSEWHERE[verb]
        return UsageError(f"{text}; {whose} is: {ours}")
    near = nearest(verb, HELP)
    return UsageError(
        text + (f"; did you mean {near}?" if near else ""), hint="supervisord-lite help"
    )
