"""The files of a configuration: the one that was named, and those that it includes.

Order is force: a file beats those before it key by key, and the files that one includes stand
right behind it, in the order of `include`, names inside a pattern sorted.
"""

from __future__ import annotations

import fnmatch
import glob
import os.path
from typing import TYPE_CHECKING

from supervisord_lite.base.record import record
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.secrecy import secrets_of
from supervisord_lite.config.source import MISSING, NO_SUCH_FILE, Source, note_folder, read_source
from supervisord_lite.config.syntax import parse
from supervisord_lite.config.tree import Node, nodes_of, substitute_all
from supervisord_lite.config.values import absolute
from supervisord_lite.config.variables import parse_environment, substitute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.syntax import Document
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader
    from supervisord_lite.config.variables import Failure

#: A folder with more is not one of configuration files.
MAX_FILES = 1000


@record
class Files:
    """What was read.

    Attributes:
        names: Of every file, as typed, also of those that could not be read.
        documents: Those that could be read, each once.
        tops: Their tables in the order of force, ``${NAME}`` replaced.
        complete: Whether every file could be read: else what several keys mean is not known.
        secrets: Texts that are not shown to people, of the daemon's variables.
    """

    names: tuple[str, ...]
    documents: tuple[Document, ...]
    tops: tuple[Table, ...]
    complete: bool
    secrets: tuple[str, ...]


def note_unreadable(reader: Reader, text: str, node: Node, problem: Problem) -> None:
    """Note that the environment file *text* cannot be read, unless "-" allows it to lack."""
    missing = problem.message == NO_SUCH_FILE
    if missing and text.startswith("-"):
        note_folder(reader.seen, problem.file.rpartition("/")[0])
    else:
        hint = f'environment_file = "-{text}" if it may be missing' if missing else problem.hint
        reader.at_value(node, f"{problem.file}: {problem.message}", hint)


def read_files(
    reader: Reader, path: str, *, environ: Mapping[str, str], instead: Mapping[str, str]
) -> Files:
    """Read the file *path* and all that it includes.

    Args:
        reader: Takes the problems.
        path: As typed.
        environ: The daemon's environment, for ``${NAME}``.
        instead: For a file (its absolute path) the one whose content is to be taken.

    Raises:
        ConfigurationError: The first file cannot be read: nothing else is known then.
    """
    source = read_source(path, instead.get(_absolute(path)), seen=reader.seen)
    if not isinstance(source, Source):
        is_missing = source.message == NO_SUCH_FILE and source.file == path
        if is_missing:
            reader.seen[path] = MISSING
        hint = "name one with -c FILE" if is_missing else source.hint
        hint = "a file is wanted: it is read again at each reload" if path == "-" else hint
        raise ConfigurationError([source._replace(hint=hint)])
    main = parse(source)
    variables = _variables(reader, main, environ)
    files = _Files(reader, variables, folder=path.rpartition("/")[0], instead=instead)
    files.broken = not variables.complete
    files.add(main, (os.path.realpath(path),))
    for file in instead.keys() - set(map(_absolute, files.names)):
        message = "is not part of the configuration: no include names it"
        reader.problems[Problem(file, 0, 0, message)] = None
    return Files(
        names=tuple(files.names),
        documents=(main, *(found for found in files.documents.values() if found is not None)),
        tops=tuple(files.tops),
        complete=not files.broken,
        secrets=secrets_of(variables.values),
    )


class _Files:
    """Walks from file to file."""

    def __init__(
        self,
        reader: Reader,
        variables: _Variables,
        *,
        folder: str,
        instead: Mapping[str, str],
    ) -> None:
        self.names: dict[str, None] = {}
        self.tops: list[Table] = []
        self.broken = False
        self._reader = reader
        self._variables = variables
        self._folder = f"{folder}/"
        self._instead = instead
        self.documents: dict[str, Document | None] = {}

    def add(self, document: Document, around: tuple[str, ...]) -> None:
        """Take *document* and what it includes; *around*: itself and who includes it."""
        self.names[document.source.file] = None
        self.tops.append(nodes_of(_substituted(self._reader, document, self._variables), document))
        for file, node, is_match in self._included(document):
            real = os.path.realpath(file)
            if real in around:
                chain = " -> ".join([*map(os.path.basename, around[around.index(real) :]), file])
                self._reader.at_value(node, f"the file includes itself: {chain}")
            elif len(self.tops) >= MAX_FILES:
                self._reader.at_value(node, f"more than {MAX_FILES} files")
                return
            else:
                inner = self._document(file, real, node, is_match=is_match)
                if inner is not None:
                    self.add(inner, (*around, real))

    def _document(self, file: str, real: str, node: Node, *, is_match: bool) -> Document | None:
        if real not in self.documents:
            self.names[file] = None
            self.documents[real] = self._parsed(file, node, is_match=is_match)
        return self.documents[real]

    def _parsed(self, file: str, node: Node, *, is_match: bool) -> Document | None:
        content = self._instead.get(_absolute(file))
        source = read_source(file, content, seen=self._reader.seen)
        try:
            if isinstance(source, Source):
                source.short = file.removeprefix(self._folder)
                document = parse(source)
                _keep_out_of(self._reader, document)
                return document
            is_missing = source.message == NO_SUCH_FILE and source.file == file
            if is_missing:
                self._reader.seen[file] = MISSING
            if is_missing and is_match and not os.path.lexists(file):
                # Removed since the folder was looked at, and not a link to nothing.
                del self.names[file]
                return None
            if source.line:
                self._reader.problems[source] = None
            else:
                hint = "a pattern may match nothing: conf.d/*.toml" if is_missing else source.hint
                self._reader.at_value(node, f"{source.file}: {source.message}", hint)
        except ConfigurationError as error:
            self._reader.problems.update(dict.fromkeys(error.problems))
        self.broken = True
        return None

    def _included(self, document: Document) -> Iterator[tuple[str, Node, bool]]:
        """Yield the files that *document* includes, as one would type them.

        With the place, and whether a pattern has found it.
        """
        folder = os.path.dirname(document.source.file)  # noqa: PTH120  # as typed
        for text, node in _texts(self._reader, document, "include"):
            pattern, failures = substitute(text, self._variables.values)
            if failures:  # told with all the others
                self.broken = True
            elif glob.has_magic(pattern):
                yield from ((file, node, True) for file in self._matching(folder, pattern))
            else:
                yield os.path.join(folder, pattern), node, False  # noqa: PTH118

    def _matching(self, folder: str, pattern: str) -> list[str]:
        """Return the files that a pattern means, those among them that are not there yet."""
        whole = os.path.join(glob.escape(folder), pattern)  # noqa: PTH118
        found = set(glob.glob(whole))  # noqa: PTH207
        for looked_into in _looked_into(folder, pattern):
            note_folder(self._reader.seen, looked_into)
        parts = _absolute(whole).split("/")
        for file in self._instead:
            names = file.split("/")
            if len(names) == len(parts) and all(map(fnmatch.fnmatchcase, names, parts)):
                found.discard(file)
                found.add(os.path.join(folder, os.path.relpath(file, folder or ".")))  # noqa: PTH118
        return sorted(found)


def _looked_into(folder: str, pattern: str) -> Iterator[str]:
    """Yield the folders in which one looks for what *pattern* means, relative to *folder*."""
    is_magic, start = False, 0
    for part in pattern.split("/"):
        before, start = pattern[:start], start + len(part) + 1
        if is_magic:
            yield from glob.glob(os.path.join(glob.escape(folder), before))  # noqa: PTH118, PTH207
        elif glob.has_magic(part):
            is_magic = True
            yield os.path.join(folder, before)  # noqa: PTH118


def _absolute(file: str) -> str:
    return os.path.abspath(file)  # noqa: PTH100  # keeps symlinks


def _texts(reader: Reader, document: Document, key: str) -> list[tuple[str, Node]]:
    """Return a text or texts of [supervisor] as written, before ``${NAME}`` is replaced."""
    table = document.tree.get("supervisor")
    if not isinstance(table, dict) or key not in table:
        return []
    return reader.texts({key: Node(table[key], ("supervisor", key), document)}, key)


def _keep_out_of(reader: Reader, document: Document) -> None:
    for _, node in _texts(reader, document, "environment_file")[:1]:
        message = '"environment_file" of [supervisor] stands in a file that is included'
        hint = "put it into the first file: its variables may name the files to include"
        reader.at_key(node, message, hint)


@record
class _Variables:
    """What ``${NAME}`` stands for.

    Attributes:
        values: The daemon's environment, and over it what its files of variables set.
        complete: Whether all of these could be read: else it is not known what is not set.
    """

    values: Mapping[str, str]
    complete: bool = True


def _substituted(reader: Reader, document: Document, variables: _Variables) -> Mapping[str, object]:
    """Return the document's tree with ``${NAME}`` replaced everywhere."""
    if "${" not in document.source.text:
        return document.tree

    def on_failure(path: Path, failure: Failure) -> None:
        reader.unknown.add((document.source.file, path))
        if variables.complete or not failure.name:
            _note_failure(reader, document, path, failure)

    return substitute_all(document.tree, variables.values, on_failure)


def _variables(reader: Reader, document: Document, environ: Mapping[str, str]) -> _Variables:
    """Return *environ* with the variables of `[supervisor] environment_file` over it."""
    values = dict(environ)
    problems = len(reader.problems)
    for text, node in _texts(reader, document, "environment_file"):
        name, failures = substitute(text, environ)
        for failure in failures:
            _note_failure(reader, document, node.path, failure)
        if failures:
            continue
        file = absolute(node, name.removeprefix("-"))
        reader.environments.setdefault(file, node)
        source = read_source(file, seen=reader.seen)
        if isinstance(source, Source):
            found, slips = parse_environment(source)
            values.update(found)
            reader.problems.update(dict.fromkeys(slips))
        else:
            note_unreadable(reader, name, node, source)
    return _Variables(values, complete=len(reader.problems) == problems)


def _note_failure(reader: Reader, document: Document, path: Path, failure: Failure) -> None:
    start, end = document.places.value(path)
    # An escape may hide the reference in the source; then the whole value is marked.
    at = document.source.text.find(failure.reference, start, end)
    span = (start, end) if at < 0 else (at, at + len(failure.reference))
    if not failure.name and failure.reference != "${":
        message = "a default cannot hold another variable"
        hint = "write a plain text as the default, or $${ for a literal ${"
    elif not failure.name:
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
