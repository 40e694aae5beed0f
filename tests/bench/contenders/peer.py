"""What all peers have in common, and how one gets them onto a machine.

A peer takes part where it is installed: those written in Python in virtual environments of their
own (`--install-peers FOLDER` makes them), the others as Debian packages.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.bench.contender import Contender

_NO_ADOPTION = "nobody takes its commands over when it is killed"


class Peer(Contender):
    """Somebody else's supervisor, set up for its shortest waits."""

    abstains: ClassVar = {"adoption": _NO_ADOPTION}


class VenvPeer(Peer):
    """One from PyPI.

    Attributes:
        requirements: What pip installs, the peer itself first.
        folder_of_peers: What `--peers` names.
    """

    requirements: ClassVar[tuple[str, ...]]
    folder_of_peers: ClassVar[Path | None] = None

    @classmethod
    def tool(cls, name: str) -> str:
        """Return the path of one of its commands."""
        assert cls.folder_of_peers is not None
        return str(cls.folder_of_peers / cls.name / "bin" / name)

    @classmethod
    def missing(cls) -> str:
        """Return what to do where there is no environment of it."""
        if cls.folder_of_peers is None:
            return "no folder of peers was named (--peers)"
        if not Path(cls.tool("python")).exists():
            return f"not in {cls.folder_of_peers} (--install-peers makes it)"
        return ""

    @classmethod
    def version(cls) -> str:
        """Return the version that is installed."""
        text = f"import importlib.metadata as m; print(m.version({cls.name!r}))"
        return _output([cls.tool("python"), "-c", text])

    @classmethod
    def install(cls, folder: Path) -> None:
        """Make its environment below *folder*.

        Raises:
            subprocess.CalledProcessError: pip has failed, and printed why.
        """
        venv = folder / cls.name
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *cls.requirements], check=True)


class PackagedPeer(Peer):
    """One that Debian brings.

    Attributes:
        program: Its main program.
    """

    program: ClassVar[str]

    @classmethod
    def missing(cls) -> str:
        """Return what to type where it is not installed."""
        return "" if shutil.which(cls.program) else f"apt-get install {cls.name}"

    @classmethod
    def version(cls) -> str:
        """Return the version of the package."""
        if not shutil.which("dpkg-query"):
            return "unknown"
        return _output(["dpkg-query", "-W", "-f", "${Version}", cls.name])


def install(peers: Iterable[type[Contender]], folder: Path) -> None:
    """Install all of *peers*, as far as this user may.

    Raises:
        subprocess.CalledProcessError: pip or apt-get have failed, and printed why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    packages = []
    for peer in peers:
        if issubclass(peer, VenvPeer):
            print(f"{peer.name}: {' '.join(peer.requirements)} in {folder / peer.name}")
            peer.install(folder)
        elif issubclass(peer, PackagedPeer) and peer.missing():
            packages.append(peer.name)
    if not packages:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"missing, and not installed without root: {' '.join(command)}")
        return
    # In runlevel 1 a package that brings a service does not start it.
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    subprocess.run(command, env=quiet, check=True)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
