"""README's tour, typed as it stands there by an ordinary user in an empty folder."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import CHECKOUT, MARKER, clean_environment
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
#: Of each command: what to type, and what README shows; empty: nothing is shown.
_STEP = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
#: What differs from run to run, and what stands in its place.
_VARYING = (
    (re.compile(r"\S*/tour/"), "tour/"),
    (re.compile(r"sent by [\w-]+ \(uid \d+\)|sent by uid \d+"), "sent by USER"),
    (re.compile(r"\.   \S+, up "), ".   HOST, up "),
    # Told in the order in which they became ready.
    (re.compile(r"^(web|clock)( +)(?:\d of \d )?ready, .*$", re.MULTILINE), "NAME ready"),
    (re.compile(r"\d+(?:[.:]\d+)*(?:ms|[smhKMGB%])?"), "N"),
    (re.compile(r"\s+"), " "),
    # Nobody has looked yet at what it uses.
    (re.compile(r"(?<= )-(?= )"), "N"),
)
#: Who looks too early looks again.
_LOOKS = tuple(f"supervisord-lite {verb}" for verb in ("status", "logs", "wait"))


def steps() -> list[tuple[str, str]]:
    """Return the commands of the tour with what comes of them."""
    text = (CHECKOUT / "README.md").read_text()
    tour = text[text.index("\n## The tour\n") :]
    return _STEP.findall(tour[: tour.index("\n## ", 4)])


def comparable(text: str) -> str:
    """Return *text* without what no two runs have in common."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text.strip()


class Visitor:
    """Somebody with a shell, a home, and nothing else.

    Attributes:
        folder: Where he is.
    """

    def __init__(self, folder: Path, token: str) -> None:
        """Install the command for him."""
        self.folder = folder / "home"
        for name in ("home", "bin", "run"):
            (folder / name).mkdir()
        command = folder / "bin/supervisord-lite"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m supervisord_lite "$@"\n')
        command.chmod(0o755)
        self._environment = clean_environment(
            {
                "HOME": str(self.folder),
                "XDG_RUNTIME_DIR": str(folder / "run"),
                "PATH": f"{folder}/bin:{os.environ['PATH']}",
                MARKER: token,
            }
        )
        self._as_user = () if os.geteuid() else AS_USER

    def types(self, command: str) -> str:
        """Return what a command prints; its end is waited for."""
        with self.begins(command) as process:
            said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, f"{command}{said}"
        return said

    @contextmanager
    def begins(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """Type a command that goes on; Ctrl-C ends it, unless it has ended."""
        words = [*self._as_user, "bash", "-e", "-o", "pipefail", "-c", command]
        with subprocess.Popen(
            words,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)


def looked(visitor: Visitor, command: str, shown: str) -> None:
    """Look until it is as it is shown."""
    wait_until(lambda: comparable(visitor.types(command)) == comparable(shown), what=shown)


def test_the_tour_is_as_the_readme_tells_it() -> None:
    """Each command of the tour brings what stands below it."""
    if not os.geteuid() and subprocess.run([*AS_USER, "true"], check=False).returncode:
        pytest.skip("needs user namespaces")
    folder = leftovers.short_folder()
    visitor = Visitor(folder, folder.name)
    first, *rest = steps()
    assert comparable(visitor.types(first[0])) == comparable(first[1])
    visitor.folder /= "tour"
    (run, _), *rest = rest
    with visitor.begins(run) as daemon:
        wait_until((folder / "run/supervisord-lite/control/control.sock").exists, what="a socket")
        for command, shown in rest:
            if "^C" in shown:
                with visitor.begins(command) as following:
                    assert following.stdout is not None
                    lines = [following.stdout.readline() for _ in shown.splitlines()[:-1]]
                assert comparable("".join(lines)) == comparable(shown.replace("^C", ""))
            elif command.startswith(_LOOKS) and command.count("\n") == 1:
                looked(visitor, command, shown)
            else:
                assert comparable(visitor.types(command)) == comparable(shown), command
        assert daemon.wait(timeout=20) == 0
    assert len(rest) >= 10
