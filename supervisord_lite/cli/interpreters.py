"""Which Python runs the targets of a configuration: for `check`, and `check --imports`.

Each interpreter is started once for all of its workers, as the user that they run as: `check` is
often typed by root, and whatever stands in a project's folder is not to be run as root because of
that. Plain `check` lets it say its version and imports nothing of anybody.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

import supervisord_lite
from supervisord_lite.base.record import record
from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.secrecy import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisord_lite.config.errors import Problem
    from supervisord_lite.config.load import Judged
    from supervisord_lite.config.spec import Identity, Python, Spec
    from supervisord_lite.config.tree import Node, Table

OLDEST = (3, 9)
_VERSION_S = 10.0
#: Some models are large.
_IMPORTS_S = 120.0
_ASK = "import sys; print(*sys.version_info[:3])"
_PROBE = f"{os.path.dirname(os.path.abspath(supervisord_lite.__file__))}/worker/probe.py"  # noqa: PTH100, PTH120
#: Variables that are the daemon's own business, and not its workers'.
_DAEMON_ONLY = ("NOTIFY_", "LISTEN_", "WATCHDOG_", "CREDENTIALS_DIRECTORY", "INVOCATION_ID")


@record
class Interpreter:
    """One interpreter that some workers need.

    Attributes:
        path: As the workers have it.
        workers: Their names, in the order of the file.
        version: "3.12.1"; None: it does not run.
    """

    path: str
    workers: tuple[str, ...]
    version: str | None = None


@record
class Imported:
    """One target that could be imported, and takes its arguments."""

    worker: str
    target: str
    ms: float


class Interpreters:
    """The interpreters of one configuration.

    Attributes:
        problems: What is wrong, with its place in a file.
        found: Each that is needed, once.
    """

    def __init__(self, judged: Judged) -> None:
        """Start each, and let it say its version."""
        self._judged = judged
        self.problems: list[Problem] = []
        self.found: list[Interpreter] = []
        groups: dict[tuple[str, Identity | None], list[tuple[Spec, Python]]] = {}
        for spec, python in _targets(judged.configuration.specs):
            groups.setdefault((python.interpreter, spec.launch.identity), []).append((spec, python))
        for (path, identity), members in groups.items():
            names = tuple(spec.pool for spec, _ in members)
            version, why = _version(path, identity, _environment(members[0][0]))
            self.found.append(Interpreter(path, names, version))
            if why:
                self._note(members[0][0], "interpreter", f"interpreter: {why}")

    def imports(self) -> Iterator[Imported]:
        """Import each target, and yield those that are good; the others are in `problems`."""
        usable = {each.path for each in self.found if each.version is not None}
        groups: dict[tuple[object, ...], list[tuple[Spec, Python]]] = {}
        for spec, python in _targets(self._judged.configuration.specs):
            launch = spec.launch
            if python.interpreter in usable:
                key = (python.interpreter, launch.identity, launch.directory, launch.environment)
                groups.setdefault(key, []).append((spec, python))
        for members in groups.values():
            yield from self._imported(members)

    def _imported(self, members: list[tuple[Spec, Python]]) -> Iterator[Imported]:
        if not members:
            return
        answers, how = _probe(members)
        for number, (spec, python) in enumerate(members):
            if number >= len(answers):
                self._note(spec, "python", f"python: {python.target}: {how}")
                yield from self._imported(members[number + 1 :])  # not even tried
                return
            answer = answers[number]
            if "words" not in answer:
                yield Imported(spec.pool, python.target, float(answer["ms"]))
                continue
            argument, hint = str(answer.get("argument", "")), str(answer.get("hint", ""))
            self._note(spec, "python", str(answer["words"]), hint=hint, argument=argument)

    def _note(
        self, spec: Spec, key: str, message: str, *, hint: str = "", argument: str = ""
    ) -> None:
        table = self._judged.tables[spec.pool]
        node, is_key = _place(table, key, argument)
        for secret in self._judged.configuration.settings.secrets:
            message = message.replace(secret, HIDDEN)
        span = (node.places.key if is_key else node.places.value)(node.path)
        self.problems.append(node.document.source.problem(span, message, hint))


def _place(table: Table, key: str, argument: str) -> tuple[Node, bool]:
    """Return the node that a problem is about, and whether about its key."""
    config = table["config"].table() if "config" in table else None
    if argument and argument in (config or {}):
        return (config or {})[argument], True
    return table.get(key) or table["python"], False


def _targets(specs: Iterable[Spec]) -> Iterator[tuple[Spec, Python]]:
    for spec in specs:
        if spec.launch.python is not None:
            yield spec, spec.launch.python


def _environment(spec: Spec) -> dict[str, str]:
    """Return the environment of the first instance, without secrets that it reads itself."""
    found = {name: value for name, value in os.environ.items() if not name.startswith(_DAEMON_ONLY)}
    for name, value in spec.launch.environment:
        if value is None:
            found.pop(name, None)
        else:
            found[name] = instance_text(value, 1)
    return found


def _as_user(identity: Identity | None) -> dict[str, Any]:
    if identity is None or os.geteuid():
        return {}
    return {"user": identity.uid, "group": identity.gid, "extra_groups": list(identity.groups)}


def _version(
    path: str, identity: Identity | None, environment: dict[str, str]
) -> tuple[str | None, str]:
    """Return the version of an interpreter, or None and why it is of no use."""
    found = path if "/" in path else shutil.which(path, path=environment.get("PATH"))
    if found is None:
        return None, f"no such file in PATH: {path}"
    try:
        done = subprocess.run(
            [found, "-I", "-S", "-c", _ASK], cwd="/", env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_VERSION_S, check=False,
            **_as_user(identity),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None, f"{path} does not say its version within {_VERSION_S:g} s"
    except (OSError, subprocess.SubprocessError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        return None, f"{why or error}: {path}"
    words = done.stdout.split()
    if done.returncode or len(words) != 3 or not all(word.isdigit() for word in words):
        return None, f"{path} is no Python: it ended with {done.returncode}"
    version = ".".join(map(bytes.decode, words))
    if (int(words[0]), int(words[1])) < OLDEST:
        return None, f"{path} is Python {version}; {'.'.join(map(str, OLDEST))} is the oldest"
    return version, ""


def _probe(members: list[tuple[Spec, Python]]) -> tuple[list[dict[str, Any]], str]:
    """Return what is to be said of each target, and how it ended where that is not of all."""
    spec, python = members[0]
    environment = _environment(spec)
    path = python.interpreter
    found = path if "/" in path else shutil.which(path, path=environment.get("PATH")) or path
    wanted = [
        {
            "target": each.target,
            "arguments": list(json.loads(each.config)),
            "preload": each.preload,
        }
        for _, each in members
    ]
    with tempfile.TemporaryFile() as answer:
        os.set_inheritable(answer.fileno(), True)
        how = "its import ended the process"
        try:
            done = subprocess.run(
                [found, _PROBE, str(answer.fileno())], cwd=instance_text(spec.launch.directory, 1),
                env=environment, input=json.dumps(wanted).encode(), stdout=2, timeout=_IMPORTS_S,
                pass_fds=[answer.fileno()], check=False, **_as_user(spec.launch.identity),
            )  # fmt: skip
            how = f"{how} with {done.returncode}"
        except subprocess.TimeoutExpired:
            how = f"its import takes longer than {_IMPORTS_S:g} s"
        except (OSError, subprocess.SubprocessError) as error:
            how = str(error)
        answer.seek(0)
        lines = answer.read().splitlines()
    try:
        return [json.loads(line) for line in lines], how
    except ValueError:
        return [], "its import wrote into what is not its own"
