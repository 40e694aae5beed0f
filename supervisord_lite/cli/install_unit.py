"""`install-unit`: write the systemd units that belong to this installation, and say what is next.

The units are those that are shipped, with the path of this command put in. Nothing is enabled or
started. What somebody has changed by hand is not overwritten without --force: changes belong into a
drop-in.
"""

import argparse
import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.config.defaults import ROOT_CONFIG_PATH

_SYSTEM = "/etc/systemd/system"
_SHIPPED_COMMAND = "/usr/bin/supervisord-lite"
_HOMES = ("/home", "/root", "/run/user")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--name", metavar="NAME",
        help="a daemon of its own beside others: supervisord-lite@NAME, and -i NAME talks to it",
    )  # fmt: skip
    parser.add_argument("--user", metavar="USER", help="whom supervisord-lite@NAME runs as")
    parser.add_argument("--config", "-c", metavar="FILE", help="its configuration file")
    parser.add_argument(
        "--hardened", action="store_true",
        help="also the drop-in that closes what many programs need; read it first",
    )  # fmt: skip
    parser.add_argument(
        "--folder", metavar="DIR", help="where units stand, if not in the usual place"
    )
    parser.add_argument("--force", action="store_true", help="overwrite what was changed by hand")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Write the units.

    Raises:
        SupervisordLiteError: A file cannot be written, or is not ours to overwrite.
        UsageError: The options do not go together.
    """
    as_root = os.geteuid() == 0
    _check(arguments, as_root=as_root)
    if arguments.name is not None:
        files = _template(arguments)
        unit = f"supervisord-lite@{arguments.name}"
    elif as_root:
        files = _system(arguments)
        unit = "supervisord-lite"
    else:
        files = _of_user(arguments)
        unit = "supervisord-lite"
    folder = Path(arguments.folder or (_SYSTEM if as_root else _user_folder()))
    if not arguments.force:
        _keep_what_people_changed(folder, files)
    for name, text in files.items():
        _write(folder / name, text)
        if not arguments.json:
            print(f"wrote {folder / name}")
    command = _next(unit, "systemctl" if as_root else "systemctl --user")
    if arguments.json:
        print(json.dumps({"wrote": [str(folder / name) for name in files], "next": command}))
    else:
        print(f"now:  {command}")
    return exit_codes.OK


def _next(unit: str, manager: str) -> str:
    """Return what is to be typed: a service that runs goes on as it was until it is restarted."""
    if shutil.which("systemctl") is not None:
        words = [*manager.split(), "is-active", "--quiet", unit]
        if subprocess.run(words, capture_output=True, check=False).returncode == 0:
            return f"{manager} daemon-reload && {manager} restart {unit}"
    return f"{manager} enable --now {unit}"


def _check(arguments: argparse.Namespace, *, as_root: bool) -> None:
    if arguments.name is None:
        if arguments.user is not None:
            text = "--user belongs to --name: the service of the box runs as root"
            raise UsageError(text, hint="its workers have the key user; or --name NAME")
        if arguments.hardened and not as_root:
            text = "--hardened is for the service of the box, which root installs"
            raise UsageError(text)
        return
    if not as_root:
        text = "--name needs root: its units stand in /etc"
        raise SupervisordLiteError(text, hint="sudo supervisord-lite install-unit …")
    if not arguments.name.replace("-", "").replace("_", "").isalnum():
        text = f'"{arguments.name}" is no name of an instance: letters, digits, _ and -'
        raise UsageError(text)
    if arguments.hardened:
        text = "--hardened is for the service of the box: supervisord-lite@NAME is closed already"
        raise UsageError(text)
    user = arguments.user or arguments.name
    try:
        pwd.getpwnam(user)
    except KeyError:
        text = f"there is no user {user}"
        hint = f"adduser --system --group {user}; or --user USER"
        raise SupervisordLiteError(text, hint=hint) from None


def _system(arguments: argparse.Namespace) -> dict[str, str]:
    files = {"supervisord-lite.service": _shipped("supervisord-lite.service")}
    own: list[str] = []
    if arguments.config is not None:
        own = _command(f"run -c {_quoted(_config(arguments))}")
        if _is_in_a_home(_config(arguments)):
            _tell(f"{_config(arguments)} belongs to a user, and root will obey it")
    elif not Path(ROOT_CONFIG_PATH).exists():
        _tell(f"there is no {ROOT_CONFIG_PATH} yet: write it first, then supervisord-lite check")
    _warn_of_strangers_programs()
    if arguments.hardened:
        files["supervisord-lite.service.d/10-hardened.conf"] = _shipped("10-hardened.conf")
        config = _config(arguments) if arguments.config is not None else ROOT_CONFIG_PATH
        own += _of_homes([config, *_programs()])
    if own:
        files["supervisord-lite.service.d/config.conf"] = _drop_in(own)
    return files


def _template(arguments: argparse.Namespace) -> dict[str, str]:
    name = arguments.name
    files = {"supervisord-lite@.service": _shipped("supervisord-lite@.service")}
    own = []
    if arguments.user is not None and arguments.user != name:
        own.append(f"User={arguments.user}")
    if arguments.config is not None:
        own += _command(f"run -c {_quoted(_config(arguments))}")
    own += _of_homes([_config(arguments), *_programs()])
    _warn_of_closed_folders(arguments.user or name)
    if own:
        files[f"supervisord-lite@{name}.service.d/config.conf"] = _drop_in(own)
    return files


def _programs() -> list[str]:
    """Return what must be readable to run this command: itself, and its interpreter."""
    command = _this_command()
    return [command, os.path.realpath(command), os.path.realpath(sys.executable)]


def _of_homes(paths: list[str]) -> list[str]:
    """Return lines for what is needed of a home, to a unit that closes them."""
    homes = [path for path in paths if _is_in_a_home(path)]
    return [f"# {homes[0]} stands there.", "ProtectHome=read-only"] if homes else []


def _warn_of_closed_folders(user: str) -> None:
    """Tell when *user* may not run the command: a virtual environment below /root, mostly."""
    who = pwd.getpwnam(user)
    groups = os.getgrouplist(user, who.pw_gid)
    for program in _programs():
        for folder in reversed(Path(program).parents):
            if who.pw_uid == 0 or not folder.is_dir():
                continue
            found = folder.stat()
            bit = 0o100 if found.st_uid == who.pw_uid else 0o010 if found.st_gid in groups else 0o1
            if not found.st_mode & bit:
                _tell(
                    f"{user} may not enter {folder}, and so not run {program}: install "
                    "supervisord-lite where everybody may read, in /opt for instance"
                )
                return


def _warn_of_strangers_programs() -> None:
    """Tell when root would run what somebody else may change: that one is root then."""
    for program in _programs():
        for each in (Path(program), *Path(program).parents):
            if each.exists() and (uid := each.stat().st_uid):
                _tell(
                    f"{each} belongs to uid {uid}, and root will run what stands there: install "
                    "supervisord-lite as root, in /opt for instance"
                )
                return


def _of_user(arguments: argparse.Namespace) -> dict[str, str]:
    files = {"supervisord-lite.service": _shipped("user/supervisord-lite.service")}
    if arguments.config is not None:
        own = _command(f"run -c {_quoted(_config(arguments))}")
        files["supervisord-lite.service.d/config.conf"] = _drop_in(own)
    return files


def _command(words: str) -> list[str]:
    return ["ExecStart=", f"ExecStart={_quoted(_this_command())} {words}"]


def _drop_in(lines: list[str]) -> str:
    return "\n".join(["# Written by supervisord-lite install-unit.", "[Service]", *lines, ""])


def _shipped(name: str) -> str:
    """Return the text of a unit, with the path of this command in it."""
    text = (_folder_of_units() / name).read_text()
    command = _quoted(_this_command())
    for key in ("ExecStart=", "ExecReload="):
        text = text.replace(f"{key}{_SHIPPED_COMMAND} ", f"{key}{command} ")
        # Of a user: systemd looks a bare name up in places of its own, not in a user's PATH.
        text = text.replace(f"{key}supervisord-lite ", f"{key}{command} ")
    return text


def _folder_of_units() -> Path:
    package = Path(__file__).parents[1]
    installed = package / "share/systemd"
    return installed if installed.is_dir() else package.parent / "systemd"


def _this_command() -> str:
    """Return the command as systemd can start it: absolute, whatever PATH was."""
    found = shutil.which(sys.argv[0])
    if found is None or Path(found).name == "__main__.py":
        found = str(Path(sys.executable).with_name("supervisord-lite"))
        if not os.access(found, os.X_OK):
            found = shutil.which("supervisord-lite") or _SHIPPED_COMMAND
    return os.path.abspath(found)  # noqa: PTH100  # keeps symlinks: they survive an upgrade


def _config(arguments: argparse.Namespace) -> str:
    path = arguments.config or f"/etc/supervisord-lite/{arguments.name}.toml"
    return os.path.abspath(path)  # noqa: PTH100  # as above


def _is_in_a_home(path: str) -> bool:
    real = os.path.realpath(path)
    return any(Path(real).is_relative_to(home) for home in _HOMES)


def _user_folder() -> str:
    own = os.environ.get("XDG_CONFIG_HOME", "")
    return f"{own if own.startswith('/') else os.path.expanduser('~/.config')}/systemd/user"  # noqa: PTH111


def _quoted(path: str) -> str:
    """Return a path as it stands in a unit. Source: systemd.syntax(7)."""
    path = path.replace("%", "%%").replace("$", "$$")
    return shlex.quote(path) if any(letter in path for letter in " \t\"'\\;") else path


def _keep_what_people_changed(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        try:
            there = path.read_text()
        except OSError:
            continue
        if there != text:
            message = f"{path} is there already, and says something else"
            hint = (
                f"--force overwrites it; your changes belong into a drop-in:\nsystemctl edit {name}"
            )
            raise SupervisordLiteError(message, hint=hint)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        message = f"{path}: {error.strerror}"
        raise SupervisordLiteError(message) from None


def _tell(text: str) -> None:
    print(f"supervisord-lite: warning: {text}", file=sys.stderr)
