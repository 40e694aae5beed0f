"""How a program runs the command of this very package, as a process of its own."""

import sys
from collections.abc import Mapping
from pathlib import Path

#: The current folder may hold anything, so nothing is imported from there (-P); and it must be this
#: package, from wherever it is, and no other version of it.
_ROOT = str(Path(__file__).parents[2])
_ENTER = (
    "import sys; sys.path.insert(0, sys.argv[1]); from supervisord_lite.cli import main;"
    " sys.exit(main(sys.argv[2:]))"
)
#: What a service manager, or a daemon around us, says to us is not for a daemon of ours.
_SCRUBBED = (
    "NOTIFY_", "LISTEN_", "WATCHDOG_", "RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY",
    "SUPERVISORD_LITE_", "INVOCATION_ID", "JOURNAL_STREAM",
)  # fmt: skip


def own_command() -> list[str]:
    """Return how the command begins; what one types behind `supervisord-lite` follows."""
    return [sys.executable, "-P", "-c", _ENTER, _ROOT]


def without_ours(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a daemon of its own."""
    return {name: value for name, value in environ.items() if not name.startswith(_SCRUBBED)}
