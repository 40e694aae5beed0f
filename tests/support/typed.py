"""The command as people type it, against a control socket with made-up answers."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import supervisord_lite
from tests.support.control import FakeDaemon

CHECKOUT = Path(supervisord_lite.__file__).parents[1]
COMMAND = (
    sys.executable,
    "-c",
    "import sys; from supervisord_lite.cli import main; sys.exit(main())",
)


def environment(**extra: str) -> dict[str, str]:
    """Return an environment in which no daemon is named."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SUPERVISORD_", "XDG_"))}
    return clean | {"PYTHONPATH": str(CHECKOUT)} | extra


def sdl(daemon: FakeDaemon | str, *words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the command against *daemon*."""
    path = daemon if isinstance(daemon, str) else daemon.path
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment(SUPERVISORD_LITE_SOCKET=path, **extra),
    )


def start(daemon: FakeDaemon, *words: str, **options: Any) -> subprocess.Popen[str]:
    """Start the command and return it running."""
    return subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(SUPERVISORD_LITE_SOCKET=daemon.path),
        **options,
    )


def files_of(*targets: tuple[str, str, str]) -> Any:
    """Return a handler for LogFiles: (name, stdout, stderr)."""
    files = [{"name": name, "stdout": out, "stderr": err} for name, out, err in targets]
    return lambda call: call.reply({"files": files})


def on_a_terminal(daemon: FakeDaemon, words: Sequence[str]) -> bytes:
    """Return what the command writes to a terminal."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words],
        stdout=far,
        stderr=far,
        env=environment(SUPERVISORD_LITE_SOCKET=daemon.path),
    )
    os.close(far)
    data = b""
    while True:
        assert select.select([near], [], [], 30)[0], "the command hangs"
        try:
            piece = os.read(near, 65536)
        except OSError:  # how a terminal says that nobody holds its other side
            break
        if not piece:
            break
        data += piece
    os.close(near)
    assert process.wait(30) == 0
    return data
