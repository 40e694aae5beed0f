"""Stage "secret" of a start: the values that are kept outside of the configuration.

Theory of operation
===================

A request says where each secret is kept, never what it is::

    secrets     [[NAME, "file", PATH], [NAME, "credential", NAME OF IT], …]
    secrets_as  "environment": variables; "files": files in the run's own folder, and NAME_FILE
    folder      that folder, made by the keeper before it forks

A child of the keeper reads them anew for each run, still with the keeper's rights, and becomes the
worker (`bring`). So no other process ever has a value: not the keeper, which would also wait for
the disk; not the supervisor, a message or a save. Whatever the disk does, it is the start of this
worker that waits, and `start_timeout` that ends it. The child lets go of all that is the keeper's
before it reads.

=============================  ====================================================================
a file is missing              the start has failed; tried again after `backoff.max`
others may read it, no file    the start has failed; tried again with backoff
no folder of credentials       hopeless: only another start of the service brings one
killed while it reads          like any start that fails; files that it wrote go with the run
the keeper is killed           the child ends with it, until it becomes the worker
=============================  ====================================================================

Files are written with the keeper's rights before they are given away, because a limit of the worker
might be in the way (`limits.fsize`), and never over something that is there. The keeper removes
them, and the folder, when nothing of the run is alive.
"""

from __future__ import annotations

import json
import os
import resource
import signal

from supervisord_lite.base import prctl
from supervisord_lite.base.plain_signals import change_mask
from supervisord_lite.base.secret_file import SecretError, read, value_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NoReturn

    from supervisord_lite.keeper.calls import Calls

#: What is shorter stands in too many texts by chance.
_LEAST_BYTES = 4
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def places(request: Mapping[str, Any], credentials: str | None) -> list[tuple[str, str]]:
    """Return name and path of each secret of a request; nothing is looked at.

    Args:
        request: For one run.
        credentials: Folder of the daemon's credentials; None: it has none.

    Raises:
        SecretError: A credential is wanted, and there is no folder of them.
    """
    found = []
    for name, kind, place in request.get("secrets", ()):
        if kind == "credential":
            if not credentials:
                message = (
                    f"no credential {place}: the daemon was started without any; "
                    f"LoadCredential={place}:PATH in its unit"
                )
                raise SecretError(message, hopeless=True)
            found.append((name, f"{credentials}/{place}"))
        else:
            found.append((name, place))
    return found


def file_names(request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the files that this request's run has in its own folder."""
    if request.get("secrets_as") != "files":
        return ()
    return tuple(name for name, _, _ in request.get("secrets", ()))


class Values:
    """The secrets of one run, in the process that becomes its worker.

    Attributes:
        variables: To be added to its environment, and to win there.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.variables: dict[str, str] = {}
        self._texts: list[str] = []

    def bring(self, request: Mapping[str, Any], where: Iterable[tuple[str, str]]) -> None:
        """Read them; this may wait for a disk.

        Args:
            request: `secrets_as`, `folder`, `identity`.
            where: As `places` returned it.

        Raises:
            SecretError: One cannot be had, or is not kept well.
            OSError: A file cannot be written.
        """
        as_files = request["secrets_as"] == "files"
        for name, path in where:
            data = read(path)
            value = data.rstrip(b"\n") if as_files else value_of(data, path)
            if len(value) >= _LEAST_BYTES:
                self._texts.append(os.fsdecode(value))
            if as_files:
                _write(request["folder"], name, data, request["identity"])
                self.variables[f"{name}_FILE"] = f"{request['folder']}/{name}"
            else:
                self.variables[name] = os.fsdecode(value)

    def masked(self, text: str) -> str:
        """Return *text* with *** in place of each value."""
        for value in sorted(self._texts, key=len, reverse=True):
            text = text.replace(value, "***")
        return text


def _write(folder: str, name: str, data: bytes, identity: Mapping[str, Any] | None) -> None:
    inside = os.open(folder, _FOLDER)
    try:
        file = os.open(name, _NEW, 0o400, dir_fd=inside)
    finally:
        os.close(inside)
    try:
        os.fchmod(file, 0o400)  # whatever our umask is
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        if identity:
            os.fchown(file, identity["uid"], identity["gid"])
    finally:
        os.close(file)


def let_go(kept: Iterable[int]) -> None:
    """Close all but *kept*: a disk may let us wait, and others for the end of what is open here."""
    start = 3
    for number in sorted(kept):
        if number > start:  # an empty range would be taken for all
            os.closerange(start, number)
        start = max(start, number + 1)
    os.closerange(start, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def end_with(keeper: int | None) -> None:
    """Be killed when process *keeper*, our parent, ends, or end now if it has; None: no more."""
    if keeper is None:
        prctl.outlive_parent()
        return
    prctl.die_with_parent()
    if os.getppid() != keeper:
        os._exit(127)


def hand_on(calls: Calls, request: Mapping[str, Any], credentials: str | None) -> tuple[int, int]:
    """Let a child read the secrets of a worker that is forked by somebody else.

    Return a descriptor for that worker, from which worker/handed.py takes them, and the pid of the
    child. Whoever holds the descriptor can read them, once: it is for one process. The child ends
    when they are read, or when nobody can read them any more.

    Args:
        calls: The seam.
        request: For one run; its folder is there, where it gets files.
        credentials: Folder of the daemon's credentials; None: it has none.

    Raises:
        OSError: There is no such child.
    """
    reader, writer = calls.pipe2(os.O_CLOEXEC)
    everything = set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}
    mask = change_mask(signal.SIG_BLOCK, everything)
    try:
        pid = calls.fork()
        if pid == 0:
            _hand_over(request, credentials, writer)
    except OSError:
        calls.close(reader)
        raise
    finally:
        change_mask(signal.SIG_SETMASK, mask)
        calls.close(writer)
    return reader, pid


def _hand_over(request: Mapping[str, Any], credentials: str | None, writer: int) -> NoReturn:
    """Write one record, in the child. Never returns, never raises."""
    try:
        let_go({writer})
        values = Values()
        failed: dict[str, object] = {"stage": "secret", "missing": False, "hopeless": False}
        try:
            values.bring(request, places(request, credentials))
            record: dict[str, object] = {"variables": values.variables}
        except SecretError as error:
            reason = f"{error}: {error.hint}" if error.hint else str(error)
            failed.update(reason=reason, missing=error.missing, hopeless=error.hopeless)
            record = {"failed": failed}
        except OSError as error:
            place = request.get("folder") or "secret"
            failed.update(reason=f"{os.strerror(error.errno or 0)}: {place}")
            record = {"failed": failed}
        view = memoryview(json.dumps(record).encode("ascii"))
        while view:
            view = view[os.write(writer, view) :]
    finally:
        os._exit(0)
