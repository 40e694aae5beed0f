"""One value in a file of people: changed in its place, with every comment and space around it kept.

Two steps, so that whoever asks can do something in between: `Edit.of_sizes` writes the changed text
beside the file and judges it as the daemon would; `write` gives it the file's name, unless somebody
has changed the file meanwhile. Commands keep out of each other's way with `turns.turn`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.config.digests import digest_of
from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import judge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from supervisord_lite.config.load import Judged
    from supervisord_lite.config.source import Source
    from supervisord_lite.config.syntax import Document
    from supervisord_lite.config.tree import Node

_KEY = "pool_size"


class NotSavedError(SupervisordLiteError):
    """The file cannot be changed by a command: a person has to."""


class ChangedMeanwhileError(NotSavedError):
    """Somebody has changed the file between the two steps: begin again."""


class Edit:
    """A changed file that has not got its name yet; a context manager that leaves nothing behind.

    Attributes:
        path: The file itself, where its name was a link.
        digests: Of its content before and after.
    """

    def __init__(self, path: str, before: bytes, after: bytes) -> None:
        """Write *after* beside the file, with its mode and owner.

        Raises:
            NotSavedError: It cannot be written.
        """
        self.path = os.path.realpath(path)
        self._before = before
        self.digests = digest_of(before), digest_of(after)
        folder, name = os.path.split(self.path)
        self._temporary = f"{folder}/.{name}.{os.getpid()}"
        try:
            _write_like(self.path, self._temporary, after)
        except OSError as error:
            self.discard()
            raise _not_saved(self.path, error.strerror or str(error)) from None

    @classmethod
    def of_sizes(
        cls, path: str, sizes: Mapping[str, int], *, environ: Mapping[str, str], as_root: bool
    ) -> Edit:
        """Prepare other pool sizes.

        Args:
            path: Of the first file; values that stand in another one are not changed.
            sizes: Pool -> instances.
            environ: For ``${NAME}``.
            as_root: Whether the daemon is root.

        Raises:
            NotSavedError: A value comes from elsewhere, or the file is not good, or not ours.
        """
        try:
            judged = judge(path, environ=environ, as_root=as_root)
        except ConfigurationError as error:
            raise _not_saved(path, _first(error)) from None
        # As it was judged: by now it may be another one.
        before = judged.documents[0].source.data
        spans = [_change(judged, path, pool, size) for pool, size in sizes.items()]
        text = before.decode().replace("\r\n", "\n")
        for (start, end), new in sorted(spans, reverse=True):
            text = text[:start] + new + text[end:]
        edit = cls(path, before, text.replace("\n", _line_end(path, before)).encode())
        try:
            edit.check(path, sizes, environ=environ, as_root=as_root)
        except BaseException:
            edit.discard()
            raise
        return edit

    def check(
        self, path: str, sizes: Mapping[str, int], *, environ: Mapping[str, str], as_root: bool
    ) -> None:
        """Make sure that the daemon would read what is meant.

        Args:
            path: Of the file, as typed.
            sizes: Pool -> instances.
            environ: For ``${NAME}``.
            as_root: Whether the daemon is root.

        Raises:
            NotSavedError: It would not.
        """
        try:
            # In its place: patterns of `include` may mean the file itself.
            instead = {os.path.abspath(path): self._temporary}  # noqa: PTH100  # keeps symlinks
            judged = judge(path, environ=environ, as_root=as_root, instead=instead)
        except ConfigurationError as error:
            raise _not_saved(self.path, _first(error)) from None
        found = {spec.pool: spec.pool_size for spec in judged.configuration.specs}
        for pool, size in sizes.items():
            if found.get(pool) != size:
                raise _not_saved(self.path, f"{_KEY} of {pool} is decided by something else")

    def write(self) -> None:
        """Give the changed text the file's name.

        Raises:
            ChangedMeanwhileError: Somebody has changed the file.
            NotSavedError: It cannot be replaced.
        """
        try:
            with open(self.path, "rb") as file:  # noqa: PTH123
                is_same = file.read() == self._before
            if not is_same:
                why = "somebody has changed it meanwhile"
                raise _not_saved(self.path, why, ChangedMeanwhileError)
            os.rename(self._temporary, self.path)  # noqa: PTH104
        except OSError as error:
            raise _not_saved(self.path, error.strerror or str(error)) from None

    def discard(self) -> None:
        """Remove what was prepared, unless it was written."""
        try:
            os.unlink(self._temporary)  # noqa: PTH108
        except FileNotFoundError:
            return

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave nothing behind."""
        self.discard()


def _not_saved(path: str, why: str, kind: type[NotSavedError] = NotSavedError) -> NotSavedError:
    return kind(f"{path} is not changed: {why}", hint=f"without --save, or edit {path}")


def _first(error: ConfigurationError) -> str:
    problem = error.problems[0]
    # Line 0: it is about the whole file.
    line = f":{problem.line}" if problem.line else ""
    return f"{problem.file}{line}: {problem.message}"


def _change(judged: Judged, path: str, pool: str, size: int) -> tuple[tuple[int, int], str]:
    """Return which characters of the file become what.

    Raises:
        NotSavedError: The value stands elsewhere, or is not a plain number.
    """
    table = judged.tables.get(pool)
    if table is None:
        raise _not_saved(path, f"it has no worker {pool}")
    node = table.get(_KEY)
    if node is not None and node.document.source.file != path:
        raise _not_saved(path, f"{_KEY} of {pool} stands in {_place(node)}")
    if node is not None and node.path == ("worker", pool, _KEY):
        span = node.document.places.value(node.path)
        written = node.document.source.text[slice(*span)]
        if not written.replace("_", "").isdigit():
            raise _not_saved(path, f"{_KEY} of {pool} is {written} ({_place(node)})")
        return span, str(size)
    for other in table.values():
        document = other.document
        if other.path[:2] == ("worker", pool) and document.source.file == path:
            return _below_header(document, path, pool, size)
    raise _not_saved(path, f"[worker.{pool}] stands in another file")


def _below_header(
    document: Document, path: str, pool: str, size: int
) -> tuple[tuple[int, int], str]:
    header = document.places.headers.get(("worker", pool))
    if header is None:
        raise _not_saved(path, f"there is no line [worker.{pool}]")
    source: Source = document.source
    end = source.text.find("\n", header[1])
    if end < 0:
        return (len(source.text), len(source.text)), f"\n{_KEY} = {size}\n"
    return (end + 1, end + 1), f"{_KEY} = {size}\n"


def _place(node: Node) -> str:
    source = node.document.source
    line, _ = source.place(node.document.places.value(node.path)[0])
    return f"{source.file}:{line}"


def _line_end(path: str, data: bytes) -> str:
    crlf = data.count(b"\r\n")
    if crlf not in (0, data.count(b"\n")):
        raise _not_saved(path, "its lines end in two different ways")
    return "\r\n" if crlf else "\n"


def _write_like(model: str, path: str, data: bytes) -> None:
    """Write a new file with the mode and owner of *model*."""
    like = Path(model).stat()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    try:
        status = os.fstat(file)
        if (status.st_uid, status.st_gid) != (like.st_uid, like.st_gid):
            os.fchown(file, like.st_uid, like.st_gid)
        os.fchmod(file, like.st_mode & 0o7777)
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)
