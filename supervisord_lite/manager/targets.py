"""What a worker runs: a command, or Python code that another process can find by name.

A command is a list of words, or one text that is split as a shell would, without a shell. Python
code is a function or a class, or the words "package.module:name". What is defined in the script
that was started is found again by running that script under another name, so its start belongs
below ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisord_lite.manager.errors import InvalidWorker
from supervisord_lite.worker.target import SCRIPT, VARIABLE

Target = str | Sequence[str] | Callable[..., Any]

_WORDS = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Launch:
    """How a target is started.

    Attributes:
        name: For a worker that was given none; may be empty.
        command: As the configuration file has it.
        environment: What the target needs beside the worker's own; for Python code.
    """

    name: str
    command: str | list[str]
    environment: dict[str, str]


def launch_of(target: Target, config: Mapping[str, Any]) -> Launch:
    """Return how to start *target*.

    Raises:
        InvalidWorker: It is nothing that another process could find, or *config* does not fit.
    """
    if callable(target):
        words, script = _words_of(target)
        _check_arguments(target, config, words)
        return _python(words, config, script=script)
    if isinstance(target, str) and _WORDS.fullmatch(target):
        return _python(target, config, script=None)
    if config:
        message = "config is for Python targets; a command has arguments and an environment"
        raise InvalidWorker(message)
    command = _command(target)
    first = (command.split() if isinstance(command, str) else command)[:1]
    return Launch(_name_of(Path(first[0]).name if first else ""), command, {})


def _command(target: object) -> str | list[str]:
    """Return a command as the configuration file has it; what it is, callers tell us only."""
    if isinstance(target, str):
        return target
    if isinstance(target, Sequence) and all(isinstance(word, str) for word in target):
        return list(target)
    message = "a worker is a command (a list of texts, or one text), a function or a class"
    raise InvalidWorker(message, hint=f"got {target!r}")


def _words_of(target: Callable[..., Any]) -> tuple[str, str | None]:
    """Return the words that another process finds *target* by, and the script if it needs one."""
    name = getattr(target, "__qualname__", "")
    module = getattr(target, "__module__", "") or ""
    shown = f"{module}.{name}" if name else repr(target)
    if not name or not module:
        message = f"{shown} has no name by which another process could import it"
        raise InvalidWorker(message, hint="use a function or class, and config= for its arguments")
    if "<lambda>" in name or "<locals>" in name:
        kind = "a lambda" if "<lambda>" in name else "defined inside a function"
        message = f"{shown} is {kind}, and another process could not import it"
        raise InvalidWorker(message, hint="def it at the top of a module; config= passes arguments")
    script = None
    if module == SCRIPT:
        module, script = _of_the_script(shown)
    found: Any = sys.modules.get(module if script is None else SCRIPT)
    for part in name.split("."):
        found = getattr(found, part, None)
    # "python -m pkg.mod" has the module as __main__, and not under its own name.
    if script is None and getattr(target, "__module__", "") == SCRIPT:
        found = target
    if found is not target:
        message = f"{shown} is not what {module} has under that name"
        raise InvalidWorker(message, hint="bound methods and wrapped functions cannot be imported")
    return f"{module}:{name}", script


def _of_the_script(shown: str) -> tuple[str, str | None]:
    main = sys.modules[SCRIPT]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:  # python -m
        return str(spec.name), None
    file = getattr(main, "__file__", None)
    if file is None or not Path(file).is_file():
        message = f"{shown} was typed in, and another process could not import it"
        raise InvalidWorker(message, hint="write it into a module, and import it from there")
    return SCRIPT, str(Path(file).resolve())


def _check_arguments(target: Callable[..., Any], config: Mapping[str, Any], words: str) -> None:
    try:
        signature = inspect.signature(target)
    except ValueError:  # written in C
        return
    context = {"context": None} if "context" in signature.parameters else {}
    try:
        signature.bind(**{**context, **config})
    except TypeError as error:
        message = f"config does not fit {words}{signature}: {error}"
        raise InvalidWorker(message) from None


def _python(words: str, config: Mapping[str, Any], *, script: str | None) -> Launch:
    # An empty entry is the current folder, which may be another one in the child.
    path = [found for entry in sys.path if (found := _absolute(entry))]
    about = {"config": dict(config), "path": path, "script": script}
    try:
        text = json.dumps(about, allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"config of {words}: {error}"
        raise InvalidWorker(
            message, hint="values are those of JSON: numbers, texts, lists …"
        ) from None
    # Nothing in it may look like a placeholder of the configuration file.
    text = text.replace("$", "\\u0024").replace("%", "\\u0025")
    command = [sys.executable, "-m", "supervisord_lite.worker", words]
    return Launch(_name_of(words.rpartition(":")[2]), command, {VARIABLE: text})


def _absolute(entry: str) -> str:
    try:
        return str(Path(entry).resolve())
    except OSError:  # the current folder is gone: nothing is found there
        return ""


def _name_of(text: str) -> str:
    return _NOT_OF_A_NAME.sub("-", text).strip("-_")[:100]
