"""One file to one `Configuration`, or everything that is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.base.record import replace
from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.keys import check_top
from supervisord_lite.config.launch import note_unreadable
from supervisord_lite.config.source import NO_SUCH_FILE, Source, read_source
from supervisord_lite.config.spec import Configuration
from supervisord_lite.config.supervisor import read_settings
from supervisord_lite.config.syntax import Document, parse
from supervisord_lite.config.tree import nodes_of, substitute_all
from supervisord_lite.config.values import Reader
from supervisord_lite.config.variables import parse_environment, substitute
from supervisord_lite.config.worker import read_specs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.variables import Failure


def load(path: str, *, environ: Mapping[str, str], as_root: bool) -> Configuration:
    """Return what the file means. Nothing is changed or made.

    Args:
        path: As typed; it stands so in errors.
        environ: The daemon's environment: for ``${NAME}`` and the default folders.
        as_root: Whether the daemon will be root: default folders, and who may run as whom.

    Raises:
        ConfigurationError: With every problem that was found.
    """
    source = read_source(path)
    if not isinstance(source, Source):
        hint = "name one with -c FILE" if source.message == NO_SUCH_FILE else ""
        raise ConfigurationError([replace(source, hint=hint)])
    document = parse(source)
    reader = Reader(document)
    top = nodes_of(_substituted(reader, document, environ), ())
    check_top(reader, top)
    settings = read_settings(reader, top, environ=environ, as_root=as_root)
    specs = read_specs(reader, top, settings, as_root=as_root)
    if reader.problems:
        raise ConfigurationError(list(reader.problems))
    return Configuration(settings, tuple(specs))


def _substituted(
    reader: Reader, document: Document, environ: Mapping[str, str]
) -> Mapping[str, object]:
    """Return the document's tree with ``${NAME}`` replaced everywhere."""
    variables = _variables(reader, document, environ)
    if "${" not in document.source.text:
        return document.tree

    def on_failure(path: Path, failure: Failure) -> None:
        _note_failure(reader, document, path, failure)

    return substitute_all(document.tree, variables, on_failure)


def _variables(reader: Reader, document: Document, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return *environ* with the variables of `[supervisor] environment_file` over it."""
    table = document.tree.get("supervisor")
    if not isinstance(table, dict) or "environment_file" not in table:
        return environ
    variables = dict(environ)
    nodes = nodes_of({"environment_file": table["environment_file"]}, ("supervisor",))
    for text, path in reader.texts(nodes, "environment_file"):
        name, failures = substitute(text, environ)
        for failure in failures:
            _note_failure(reader, document, path, failure)
        if failures:
            continue
        source = read_source(reader.absolute(name.removeprefix("-")))
        if isinstance(source, Source):
            found, problems = parse_environment(source)
            variables.update(found)
            reader.problems.update(dict.fromkeys(problems))
        else:
            note_unreadable(reader, name, path, source)
    return variables


def _note_failure(reader: Reader, document: Document, path: Path, failure: Failure) -> None:
    start, end = document.places.value(path)
    # An escape may hide the reference in the source; then the whole value is marked.
    at = document.source.text.find(failure.reference, start, end)
    span = (start, end) if at < 0 else (at, at + len(failure.reference))
    if not failure.name:
        message = "${ begins a variable: ${NAME} or ${NAME:-default}"
        hint = "write $${ for a literal ${"
    elif failure.name in _environment_of(document, path):
        message = f"${{{failure.name}}} is set for the worker, not for the daemon"
        hint = 'let a shell in the worker read it: command = ["/bin/sh", "-c", "…"]'
    else:
        message = f"${{{failure.name}}} is not set in the daemon's environment"
        hint = f"set it, or give a default: ${{{failure.name}:-…}}"
    reader.problems[document.source.problem(span, message, hint)] = None


def _environment_of(document: Document, path: Path) -> Mapping[str, object]:
    """Return the `environment` table of the worker (or [defaults]) that *path* is in."""
    table: object = document.tree
    for part in path[: 2 if path[0] == "worker" else 1]:
        table = table.get(part) if isinstance(table, dict) else None
    found = table.get("environment") if isinstance(table, dict) else None
    return found if isinstance(found, dict) else {}
