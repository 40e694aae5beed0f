"""Become PID 1 of a container, as an engine would make it: build the image, close it, and exec.

    container_boot.py SPEC    SPEC: the JSON that `container.Container` writes

Runs as the first process of new pid, mount, uts, ipc, net and cgroup namespaces, as root. The base
image is a throw-away copy of this machine's root, with the interpreter of the tests as `python`.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What stands there belongs to this machine; in an image they are all but empty.
_OF_THE_MACHINE = ("run", "tmp", "var/tmp", "etc/supervisord-lite")
#: Stands for pip in RUN lines: the package is "installed" from where COPY has put it. That pip can
#: build and install it is for the tests of the wheel.
_PIP = """#!/usr/local/bin/python
import os, pathlib, sys, sysconfig
*words, source = sys.argv[1:]
assert words[0] == "install", sys.argv
assert pathlib.Path(source, "pyproject.toml").is_file(), source
site = pathlib.Path(sysconfig.get_path("purelib"))
site.mkdir(parents=True, exist_ok=True)
(site / "installed.pth").write_text("\\n".join([source, *{libraries!r}, ""]))
command = pathlib.Path("/usr/local/bin/supervisord-lite")
command.write_text(
    "#!/usr/local/bin/python\\nimport sys\\n"
    "from supervisord_lite.cli import main\\nsys.exit(main())\\n"
)
command.chmod(0o755)
"""


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def make_root(folder: Path) -> Path:
    """Mount the base image, without what an engine adds; return where."""
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
    root = _overlay(folder / "all", "/", folder / "root")
    for point in _OF_THE_MACHINE:
        (root / point).mkdir(exist_ok=True)
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root / point))
    _offer_python(root, folder / "python")
    return root


def _offer_python(root: Path, own: Path) -> None:
    """Let every user run the interpreter of the tests, wherever it stands."""
    prefix = Path(os.path.realpath(sys.base_prefix))
    if not prefix.is_relative_to("/usr"):
        _overlay(own, str(prefix), root / prefix.relative_to("/"))
        for folder in prefix.relative_to("/").parents:
            (root / folder).chmod(0o755)
    python = root / "usr/local/bin/python"
    python.unlink(missing_ok=True)
    python.symlink_to(os.path.realpath(sys.executable))


def _overlay(own: Path, lower: str, at: Path) -> Path:
    for path in (own / "upper", own / "work", at):
        path.mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={lower},upperdir={own}/upper,workdir={own}/work"
    mount("-t", "overlay", "-o", layers, "overlay", str(at))
    return at


def build(root: Path, image: dict[str, Any], context: str, libraries: list[str]) -> None:
    """Carry out COPY and RUN; libraries of the tests stand in for what pip would bring."""
    places = []
    for number, library in enumerate(libraries):
        places.append(f"/opt/site-{number}")
        _bind(library, root / places[-1].lstrip("/"), "ro")
    pip = root / "usr/local/bin/pip"
    pip.unlink(missing_ok=True)
    pip.write_text(_PIP.replace("{libraries!r}", repr(places)))
    pip.chmod(0o755)
    for step, words in image["steps"]:
        if step == "COPY":
            assert words[0] == ".", "the example copies its folder"
            _bind(context, root / words[1].lstrip("/"), "ro")
        else:
            argv = ["chroot", str(root), "/usr/bin/env", "-i", f"PATH={_PATH}", "/bin/sh", "-ec"]
            subprocess.run([*argv, words[0]], check=True)


def _bind(source: str, at: Path, mode: str) -> None:
    at.mkdir(parents=True, exist_ok=True)
    mount("--bind", source, str(at))
    mount("-o", f"remount,bind,{mode}", str(at))


def add_what_engines_add(root: Path, spec: dict[str, Any]) -> None:
    """Mount /proc, /sys, /dev, then what the compose file asks for; close the rest."""
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    mount("-t", "cgroup2", "-o", "ro", "cgroup2", str(root / "sys/fs/cgroup"))
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root / "dev"))
    for node in ("null", "zero", "full", "random", "urandom", "tty"):
        (root / "dev" / node).touch()
        mount("--bind", f"/dev/{node}", str(root / "dev" / node))
    (root / "dev/fd").symlink_to("/proc/self/fd")
    for point, options in spec["tmpfs"].items():
        (root / point.lstrip("/")).mkdir(parents=True, exist_ok=True)
        mount("-t", "tmpfs", "-o", options or "mode=1777", "tmpfs", str(root / point.lstrip("/")))
    for source, point, mode in spec["binds"]:
        place = root / point.lstrip("/")
        if source in spec["volumes"] and place.is_dir() and not os.listdir(source):
            found = place.stat()  # a new volume is like the place in the image
            os.chown(source, found.st_uid, found.st_gid)
        _bind(source, place, mode)
    if spec["read_only"]:
        asked_for = {*spec["tmpfs"], *(point for _, point, _ in spec["binds"])}
        prefix = os.path.realpath(sys.base_prefix).lstrip("/")
        for point in ("", prefix, *_OF_THE_MACHINE):
            if os.path.ismount(root / point) and f"/{point}" not in asked_for:
                mount("-o", "remount,bind,ro", str(root / point))


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        fcntl.ioctl(own, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def enter(root: Path) -> None:
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "."], check=True)
    subprocess.run(["umount", "--lazy", "."], check=True)


def main(path: str) -> None:
    spec = json.loads(Path(path).read_text())
    root = make_root(Path(spec["folder"]))
    build(root, spec["image"], spec["context"], spec["libraries"])
    add_what_engines_add(root, spec)
    raise_loopback()
    enter(root)
    os.chdir(spec["image"]["workdir"])
    account = next(
        line.split(":")
        for line in Path("/etc/passwd").read_text().splitlines()
        if line.startswith(f"{spec['image']['user']}:")
    )
    environment = {"PATH": _PATH, "HOME": account[5], "HOSTNAME": "box", **spec["image"]["env"]}
    argv = [
        "/usr/bin/setpriv", f"--reuid={account[2]}", f"--regid={account[3]}", "--clear-groups",
        "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--",
        *spec["image"]["entrypoint"], *spec["image"]["cmd"],
    ]  # fmt: skip
    os.execve(argv[0], argv, environment)


if __name__ == "__main__":
    main(sys.argv[1])
