"""Clients that are no good: they hang, lie, never read, and leave in the middle."""

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from tests.soak.schedule import Fault
from tests.support.daemon import Daemon

_MANAGER = "io.supervisordlite.Manager"
Undo = Callable[[], None]


def _connect(daemon: Daemon) -> socket.socket | None:
    own = socket.socket(socket.AF_UNIX)
    own.settimeout(0.2)
    try:
        own.connect(str(daemon.control_path))
    except OSError:
        own.close()
        return None
    return own


def _request(method: str, *, more: bool, **parameters: object) -> bytes:
    call = {"method": f"{_MANAGER}.{method}", "parameters": parameters, "more": more}
    return json.dumps(call).encode() + b"\0"


def _with(daemon: Daemon, data: bytes) -> Undo | None:
    """Connect, say that, and stay; return what leaves."""
    own = _connect(daemon)
    if own is None:
        return None
    with suppress(OSError):
        own.sendall(data)
    return own.close


def hangs(daemon: Daemon, _fault: Fault) -> Undo | None:
    """Say nothing at all."""
    return _with(daemon, b"")


def halves(daemon: Daemon, fault: Fault) -> Undo | None:
    """Say a part of a request."""
    whole = _request("Status", more=False, names=[])
    return _with(daemon, whole[: 1 + int(fault.amount * (len(whole) - 2))])


def junk(daemon: Daemon, fault: Fault) -> Undo | None:
    """Say what is no request."""
    return _with(daemon, os.urandom(1 + int(fault.amount * 4000)) + b"\0")


def deaf(daemon: Daemon, fault: Fault) -> Undo | None:
    """Follow events, ask for much, and read nothing of it."""
    data = _request("Events", more=True, events=["*"], names=["*"], most=1000, follow=True)
    return _with(daemon, data if fault.amount < 0.5 else _request("Status", more=False) * 20)


def leaves(daemon: Daemon, fault: Fault) -> Undo | None:
    """Wait for something, and do not wait for its end."""
    goal = "stopped" if fault.amount < 0.5 else "ready"
    return _with(daemon, _request("Wait", more=True, names=[fault.target], goal=goal))


def crowd(daemon: Daemon, _fault: Fault) -> Undo | None:
    """Be a hundred at once."""
    crowd = [own for _ in range(100) if (own := _connect(daemon)) is not None]

    def leave() -> None:
        for own in crowd:
            own.close()

    return leave


def visit(daemon: Daemon, _fault: Fault) -> Undo | None:
    """Connect to the socket of a pool that restarts all the time: nobody is refused.

    Raises:
        ConnectionRefusedError: Somebody was.
    """
    own = socket.socket(socket.AF_UNIX)
    own.settimeout(0.2)
    try:
        own.connect(str(daemon.folder / "web.sock"))
        own.recv(100)
    except TimeoutError:  # both may be stopped just now, or be held up
        return None
    finally:
        own.close()
    return None
