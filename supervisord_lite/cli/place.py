"""Which daemon: --socket, -i, $SUPERVISORD_LITE_SOCKET, or the default place."""

import argparse
import os
import pwd
import shlex
import stat
from collections.abc import Mapping
from contextlib import ExitStack

from supervisord_lite.base.units import UnitError, parse_duration_s
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.config.defaults import control_path_in, default_folders
from supervisord_lite.control.client import ANSWER_TIMEOUT_S, Client
from supervisord_lite.control.errors import NoDaemonError

_UNIT = "supervisord-lite"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which daemon."""
    which = parser.add_argument_group("which daemon").add_mutually_exclusive_group()
    which.add_argument("--socket", metavar="PATH", help="its control socket")
    which.add_argument(
        "-i", "--instance", metavar="INSTANCE", help="the one of supervisord-lite@INSTANCE"
    )


def add_wait_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --no-wait and --timeout."""
    parser.add_argument("--no-wait", action="store_true", help="return when it is ordered")
    add_timeout_argument(parser)


def add_timeout_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --timeout."""
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=_duration_s,
        help="give up waiting after this long (60s, 5m); exit 6",
    )


def _duration_s(text: str) -> float:
    """Return a duration in seconds; a bare number is seconds."""
    try:
        return parse_duration_s(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except UnitError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def connect(arguments: argparse.Namespace, *, answer_timeout_s: float | None = None) -> Client:
    """Return a connection to the daemon that is meant.

    Raises:
        SupervisordLiteError: Nobody answers there, or it is closed to this user.
    """
    environ = os.environ
    path = socket_path(arguments, environ, uid=os.getuid())
    named = arguments.socket or arguments.instance or environ.get("SUPERVISORD_LITE_SOCKET")
    timeout_s = ANSWER_TIMEOUT_S if answer_timeout_s is None else answer_timeout_s
    try:
        if not named:
            _check_owners(path, uid=os.getuid())
        with ExitStack() as stack:
            unit = f"supervisord-lite@{arguments.instance}" if arguments.instance else _UNIT
            client = stack.enter_context(Client(path, answer_timeout_s=timeout_s, unit=unit))
            if not named:
                _check_owners(path, uid=os.getuid())  # it may have been made in between
            stack.pop_all()
            return client
    except NoDaemonError as error:
        error.hint += _other_daemon(path, environ)
        raise


def socket_path(arguments: argparse.Namespace, environ: Mapping[str, str], *, uid: int) -> str:
    """Return the path of the control socket that is meant.

    Raises:
        UsageError: The instance's name is no name.
    """
    if arguments.socket:
        return str(arguments.socket)
    instance = arguments.instance
    if instance is not None:
        if not instance.replace("-", "").replace("_", "").replace(".", "").isalnum():
            text = f'"{instance}" is no name of an instance'
            raise UsageError(text)
        return control_path_in(f"/run/supervisord-lite/{instance}")
    return environ.get("SUPERVISORD_LITE_SOCKET") or _default_places(environ, uid=uid)[0]


def _check_owners(path: str, *, uid: int) -> None:
    """Refuse a path that nobody named and that somebody else may have made.

    Without XDG_RUNTIME_DIR the default place is below /tmp, where everybody may make a folder of
    any name first. What belongs to us or to root there cannot be replaced by others (sticky bit).

    Raises:
        NoDaemonError: A part of *path* stands where everybody may write, and belongs to neither
            *uid* nor root.
    """
    part = path
    while (folder := os.path.dirname(part)) not in (part, ""):
        try:
            owner_uid, is_open = os.lstat(part).st_uid, os.stat(folder).st_mode & stat.S_IWOTH
        except OSError:
            pass  # not there, or closed to us: the connect will say so
        else:
            if is_open and owner_uid not in {0, uid}:
                text = f"no daemon of yours answers at {path}"
                raise NoDaemonError(
                    text,
                    hint=f"{part} belongs to {_who(owner_uid)}, and anybody may have made it\n"
                    f"if that daemon is meant: --socket {shlex.quote(path)}",
                )
        part = folder


def _who(uid: int) -> str:
    """Return a user as people know them."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def command(arguments: argparse.Namespace) -> str:
    """Return how to call this command for the same daemon, for hints that people type."""
    if arguments.instance:
        return f"supervisord-lite -i {arguments.instance}"
    if arguments.socket:
        return f"supervisord-lite --socket {shlex.quote(arguments.socket)}"
    return "supervisord-lite"


def _default_places(environ: Mapping[str, str], *, uid: int) -> list[str]:
    """Return where a daemon may be, the own one first: root's is the system's."""
    # Only a user's own variables: RUNTIME_DIRECTORY of some unit says nothing about the daemon.
    own_words = {name: environ[name] for name in ("XDG_RUNTIME_DIR", "HOME") if name in environ}
    system = control_path_in(default_folders({}, uid=0).runtime_dir)
    if uid:
        return [control_path_in(default_folders(own_words, uid=uid).runtime_dir), system]
    return [system]


def _other_daemon(path: str, environ: Mapping[str, str]) -> str:
    """Return a line about a daemon in another default place, if the default was asked for."""
    places = _default_places(environ, uid=os.getuid())
    if path != places[0]:
        return ""
    for place in places[1:]:
        try:
            if stat.S_ISSOCK(os.stat(place).st_mode):
                return f"\nthere is another one: --socket {place}"
        except PermissionError:  # not even its folder may be looked at
            return "\nthere may be one of root's, which is closed to you: sudo supervisord-lite …"
        except OSError:
            continue
    return ""
