"""The dry start of this code, in a child of a keeper that runs another: keeper/upgrade.py.

Everything is done that a supervisor does before its first turn: all is imported (also what scribe
and keeper need), the fleet is built, each record is read, each fact replayed, and each worker's
status is made. Nothing is attached that could act: what would be said to the keeper goes nowhere,
no child is started, no client is heard. Then one line on descriptor 1::

    {"version", "protocol", "succession", "unusable": {"POOL/INDEX": why}}
    {"reason"}

Whatever else happens to this process is a no; its last line on stderr says why.
"""

import errno
import json
import os
import signal
import socket
from importlib.machinery import SourceFileLoader
from typing import NoReturn

from supervisord_lite import __version__
from supervisord_lite.base import prctl
from supervisord_lite.base.clock import SystemClock, SystemRng
from supervisord_lite.keeper import entrance as keeper_entrance
from supervisord_lite.keeper import succession
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.scribe import __main__ as scribe_entrance
from supervisord_lite.supervisor import __main__ as supervisor_entrance
from supervisord_lite.supervisor.adoption import handover_of
from supervisord_lite.supervisor.loop import Supervisor
from supervisord_lite.wire.channel import PROTOCOL

#: The keeper has long given up by then; but it may be dead.
_ALARM_S = 60
#: What the three processes are made of; that they are here means that they can be imported.
ENTRANCES = (keeper_entrance.enter, scribe_entrance.main, supervisor_entrance.main)
#: Of commands, tests, and programs that own a daemon: no process of the daemon is made of these.
_OF_OTHERS = ("cli", "manager", "testing")


def main(arguments: list[str]) -> int:
    """Try to go on; say on descriptor 1 what came of it.

    Args:
        arguments: Descriptors: of the handover, and of the keeper's state where there is one.
    """
    prctl.protect()
    prctl.set_name("sdl-trial")
    signal.alarm(_ALARM_S)
    with os.fdopen(int(arguments[0]), "rb") as file:
        said = json.load(file)
    read_all_code(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    if len(arguments) > 1:
        keeper_entrance.try_out(int(arguments[1]))
    answer = {"version": __version__, "protocol": PROTOCOL, "succession": succession.SUCCESSION}
    _say({**answer, "unusable": rehearsed(said)})
    return 0


def read_all_code(root: str) -> None:
    """Have every module of the daemon compiled, or read where that was done before.

    Its short-lived children are made of modules that are imported nowhere here.

    Args:
        root: The folder of the package.

    Raises:
        SyntaxError: One of them is no Python, or not of this version.
        OSError: One of them cannot be read.
    """
    with os.scandir(root) as folders:
        packages = [each.path for each in folders if each.is_dir() and each.name not in _OF_OTHERS]
    for package in packages:
        with os.scandir(package) as entries:
            for entry in entries:
                name, _, kind = entry.name.partition(".")
                if kind == "py":
                    SourceFileLoader(name, entry.path).get_code(name)


def rehearsed(said: dict[str, object]) -> dict[str, str]:
    """Build a supervisor from what a keeper says; return the workers that it cannot go on with.

    Raises:
        Exception: Whatever our own code has against it.
    """
    own, nobody = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with nobody, open(os.devnull, "wb") as quiet:  # noqa: PTH123
        supervisor = Supervisor(
            own,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),  # of which nobody can know
            handover_of(said),
            clock=SystemClock(),
            rng=SystemRng(),
            journal=Journal(quiet.fileno(), "json", "error"),
            own_uid=os.getuid(),
            start_note=_start_nothing,
            start_bound_note=_start_nothing,
            start_loading=_start_nothing,
            start_reading=_start_nothing,
            start_sampling=_start_nothing,
        )
        return supervisor.rehearse()


def _start_nothing(*_arguments: object, **_more: object) -> NoReturn:
    raise OSError(errno.EPERM, "this is a dry start")


def _say(answer: dict[str, object]) -> None:
    data = memoryview(json.dumps(answer).encode() + b"\n")
    while data:
        data = data[os.write(1, data) :]
