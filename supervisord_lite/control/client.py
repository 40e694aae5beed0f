"""The blocking client behind the command: one connection, one call at a time."""

import contextlib
import errno
import os
import pwd
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from supervisord_lite.control import interface
from supervisord_lite.control.errors import (
    ConfigurationRefusedError,
    ControlError,
    NoAnswerError,
    NoDaemonError,
    NoSuchWorkerError,
    NotPermittedError,
    ReplacedError,
)
from supervisord_lite.wire import varlink
from supervisord_lite.wire.errors import WireError

#: How long an answer that needs no waiting may take.
ANSWER_TIMEOUT_S = 10.0
#: How long a dropped call is said again, counted from the first drop without an answer between.
AGAIN_S = 5.0
#: Longest sleep in the kernel: a Ctrl-C that comes just before one is noticed after it.
_LOOK_S = 1.0
#: Between two attempts.
PAUSE_S = 0.02

#: Methods that mean the same when they are said twice.
IDEMPOTENT = frozenset(
    {
        "Status",
        "States",
        "Watch",
        "Wait",
        "Start",
        "Stop",
        "Reset",
        "LogFiles",
        "Why",
        "Version",
        "Shutdown",
        "Scale",
        "SizesSaved",
    },
)
#: This one does with this parameter, which says what the client saw before.
_IDEMPOTENT_WITH = {"Restart": "begun_by_s"}
#: A status of the largest fleet fits many times.
MAX_REPLY_BYTES = 64 * 1024 * 1024
#: The longest path that an address takes; longer ones go through an open folder.
_MAX_ADDRESS_BYTES = 107


class _DroppedError(Exception):
    """The connection ended before the answer was complete."""


class Client:
    """A connection to the daemon at *path*; a context manager."""

    def __init__(
        self,
        path: str,
        *,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        unit: str = "supervisord-lite",
    ) -> None:
        """Connect.

        Args:
            path: Of the control socket.
            answer_timeout_s: How long an answer may take.
            unit: What to start where nobody listens, for people.

        Raises:
            NoDaemonError: Nobody listens there.
            NotPermittedError: The socket is closed to this user.
        """
        self._path = path
        self._answer_timeout_s = answer_timeout_s
        self._unit = unit
        self._socket: socket.socket | None = None
        self._listener_uid = 0
        self._reader = varlink.Reader(max_message_bytes=MAX_REPLY_BYTES)
        self._messages: list[dict[str, Any]] = []
        self._connect(time.monotonic() + answer_timeout_s)

    def __enter__(self) -> "Client":
        """Return the client itself."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Hang up; what was ordered goes on in the daemon."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, method: str, parameters: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return the answer to one call of the daemon's interface; *method* is its bare name.

        Raises:
            NoAnswerError: None came within the answer timeout.
            SupervisordLiteError: As the daemon or the connection says.
        """
        answers = self._talk(method, parameters or {}, more=False, timeout_s=self._answer_timeout_s)
        return next(answers)

    def stream(
        self, method: str, parameters: Mapping[str, object], *, timeout_s: float | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the answers to one call as they come.

        After a drop the same answers may come a second time.

        Args:
            method: Bare name.
            parameters: Of the call.
            timeout_s: For all answers together; None waits for ever.

        Raises:
            NoAnswerError: The time is over.
            SupervisordLiteError: As the daemon or the connection says.
        """
        return self._talk(method, parameters, more=True, timeout_s=timeout_s)

    def wait_until_gone(self, timeout_s: float | None = None) -> bool:
        """Return True once nobody listens at the path any more, False when the time is over.

        The end of a connection is what is waited for: a connection that a dying daemon does not
        accept ends together with its listening socket.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                if self._socket is None:
                    self._connect(_earlier(deadline_s, self._answer_timeout_s))
                self._receive(deadline_s)
            except NoAnswerError:
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    return False
            except NoDaemonError:
                return True
            except _DroppedError:
                self.close()
                time.sleep(PAUSE_S)

    def is_gone(self) -> bool:
        """Return whether nobody listens at the path any more; never waits.

        Holds a connection in between: one that a dying daemon does not accept ends with its socket.
        """
        for _ in range(2):
            try:
                if self._socket is None:
                    self._connect(time.monotonic())
                assert self._socket is not None
                self._socket.settimeout(0.0)
                if self._socket.recv(4096):
                    return False
            except (BlockingIOError, NoAnswerError):
                return False
            except (NoDaemonError, NotPermittedError):
                return True
            except OSError:
                pass  # as an end: the supervisor was replaced, or others needed the place
            self.close()
        return False

    def _talk(
        self,
        method: str,
        parameters: Mapping[str, object],
        *,
        more: bool,
        timeout_s: float | None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the answers to one call, saying it again where that is right."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        request = varlink.request(f"{interface.MANAGER}.{method}", parameters, more=more)
        again_until_s: float | None = None
        drops = 0
        while True:
            try:
                self._send(request, deadline_s)
                continues = True
                while continues:
                    answer = self._receive(deadline_s)
                    again_until_s = None
                    continues = answer.get("continues") is True
                    yield self._judged(method, answer)
                return  # noqa: TRY300  # the loop is left here
            except _DroppedError:
                drops += 1
            self.close()
            self._check_refusal(drops)
            if method not in IDEMPOTENT and _IDEMPOTENT_WITH.get(method) not in parameters:
                self._check_door()
                text = "the daemon's supervisor was replaced before it answered"
                raise ReplacedError(text, hint="what was ordered may have been done: look first")
            now_s = time.monotonic()
            again_until_s = again_until_s or now_s + AGAIN_S
            if now_s >= again_until_s:
                text = f"the daemon at {self._path} hangs up without an answer"
                raise NoDaemonError(text)
            time.sleep(PAUSE_S)
            self._connect(_earlier(deadline_s, self._answer_timeout_s))

    def _check_refusal(self, drops: int) -> None:
        """Raise NotPermittedError when the drops look like a closed door.

        Who may not ask is hung up on at once; the third time in a row it is no accident, if the
        daemon belongs to somebody else.
        """
        if drops >= 3 and os.getuid() not in {0, self._listener_uid}:
            raise _not_permitted(os.getuid(), "its owner has not named you")

    def _check_door(self) -> None:
        """Raise NotPermittedError when we are hung up on whatever we ask."""
        if os.getuid() in {0, self._listener_uid}:
            return
        with contextlib.suppress(NoDaemonError), Client(self._path) as other:
            other.call("Version")

    def _connect(self, deadline_s: float) -> None:
        """Connect, waiting while the queue of the listener is full."""
        self._reader = varlink.Reader(max_message_bytes=MAX_REPLY_BYTES)
        self._messages.clear()
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connecting.settimeout(self._answer_timeout_s)
            while True:
                try:
                    _connect_to(connecting, self._path)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline_s:
                        raise
                    time.sleep(PAUSE_S)
            credentials = connecting.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except OSError as error:
            connecting.close()
            raise self._explained(error) from error
        except BaseException:
            connecting.close()
            raise
        self._listener_uid = struct.unpack("3i", credentials)[1]
        self._socket = connecting

    def _explained(self, error: OSError) -> Exception:
        """Return what a failed connect means to a person."""
        if isinstance(error, PermissionError):
            return _not_permitted(os.getuid(), f"the socket {self._path} is closed to you")
        if isinstance(error, BlockingIOError | TimeoutError):
            return NoAnswerError(f"the daemon at {self._path} does not answer")
        text = f"no daemon answers at {self._path}"
        if isinstance(error, ConnectionRefusedError):
            hint = f"the socket exists, but nobody listens: systemctl status {self._unit}"
            if not _is_socket(self._path):
                hint = "that is not a socket"
            return NoDaemonError(text, hint=hint)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return NoDaemonError(
                text,
                hint=f"there is no socket: start the daemon with systemctl start {self._unit}\n"
                "or supervisord-lite run -c FILE, or name its socket with --socket PATH",
            )
        return NoDaemonError(f"{text}: {error.strerror or error}")

    def _send(self, request: bytes, deadline_s: float | None) -> None:
        """Send one request."""
        assert self._socket is not None
        try:
            self._socket.settimeout(_left_s(deadline_s))
            self._socket.sendall(request, socket.MSG_NOSIGNAL)
        except TimeoutError as error:
            raise self._no_answer() from error
        except OSError as error:
            raise _DroppedError from error

    def _receive(self, deadline_s: float | None) -> dict[str, Any]:
        """Return the next message."""
        assert self._socket is not None
        while not self._messages:
            try:
                left_s = _left_s(deadline_s)
                self._socket.settimeout(_LOOK_S if left_s is None else min(left_s, _LOOK_S))
                data = self._socket.recv(256 * 1024)
            except (TimeoutError, BlockingIOError) as error:
                if deadline_s is None or time.monotonic() < deadline_s:
                    continue
                raise self._no_answer() from error
            except OSError as error:
                raise _DroppedError from error
            if not data:
                raise _DroppedError
            try:
                self._messages.extend(self._reader.feed(data))
            except WireError as error:
                text = f"what answers at {self._path} is no supervisord-lite: {error}"
                raise NoDaemonError(text) from error
        return self._messages.pop(0)

    def _no_answer(self) -> NoAnswerError:
        return NoAnswerError(f"the daemon at {self._path} does not answer")

    def _judged(self, method: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of an answer, or raise what it says."""
        parameters = answer.get("parameters")
        found: dict[str, Any] = parameters if isinstance(parameters, dict) else {}
        name = answer.get("error")
        if name is None:
            return found
        raise _error_for(method, str(name), found)


def _denied(parameters: Mapping[str, Any], subject: str) -> Exception:
    """Return the exception for a denied call: what this user may do instead, and who may this."""
    found = parameters.get("uid")
    uid = found if isinstance(found, int) else os.getuid()
    operates, allowed = (
        ", ".join(map(str, parameters.get(key) or [])) for key in ("operates", "allowed")
    )
    lines = [f"{_user_name(uid)} may operate: {operates}"] if operates else []
    if allowed:
        lines.append(f"{subject} is operated by: {allowed}" if subject else f"allowed: {allowed}")
    return _not_permitted(uid, "\n".join(lines), subject)


def _error_for(method: str, name: str, parameters: Mapping[str, Any]) -> Exception:
    """Return the exception for an error reply."""
    subject = str(parameters.get("name") or "")
    if name == interface.NO_SUCH_WORKER:
        suggestion = parameters.get("suggestion")
        text = "no such worker" + (f"; did you mean {suggestion}?" if suggestion else "")
        return NoSuchWorkerError(text, subject=subject)
    if name == interface.NOT_PERMITTED:
        return _denied(parameters, subject)
    if name == interface.REFUSED:
        # A traceback, say, stands behind the first line.
        reason, _, more = str(parameters.get("reason") or "refused").partition("\n")
        hint = "\n".join(filter(None, [more, str(parameters.get("hint") or "")]))
        return ControlError(reason, hint=hint, subject=subject)
    if name == interface.CONFIGURATION_REFUSED:
        return ConfigurationRefusedError(
            str(parameters.get("message") or "refused"),
            problems=list(parameters.get("problems") or []),
            since=str(parameters.get("in_force_since") or ""),
        )
    if name == interface.FAILED:
        return ControlError("the daemon failed at it", hint="its log says why")
    if name in {interface.METHOD_NOT_FOUND, interface.INVALID_PARAMETER}:
        hint = "the daemon is of another version: compare with supervisord-lite version"
        return ControlError(f"the daemon does not know {method} like this", hint=hint)
    return ControlError(f"the daemon answered {name}")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"


def _not_permitted(uid: int, hint: str = "", subject: str = "") -> NotPermittedError:
    """Return the error for a user who may not; *uid* is who the daemon saw."""
    name = _user_name(uid)
    who = name if name.startswith("uid ") else f"{name} (uid {uid})"
    return NotPermittedError(f"not permitted for {who}", hint=hint, subject=subject)


def _earlier(deadline_s: float | None, timeout_s: float) -> float:
    """Return the earlier of a deadline and *timeout_s* from now."""
    until_s = time.monotonic() + timeout_s
    return until_s if deadline_s is None else min(deadline_s, until_s)


def _left_s(deadline_s: float | None) -> float | None:
    """Return a socket timeout for a deadline; TimeoutError when it has passed."""
    if deadline_s is None:
        return None
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _connect_to(connecting: socket.socket, path: str) -> None:
    """Connect to a path of any length."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        connecting.connect(path)
        return
    folder, name = os.path.split(path)
    fd = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{fd}/{name}"
        if len(os.fsencode(short)) > _MAX_ADDRESS_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        connecting.connect(short)
    finally:
        os.close(fd)
