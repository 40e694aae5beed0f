"""`run`, whose main process is told to stop right before one of its own system calls.

    python striking.py NUMBER GO run -c FILE

All is as it always is but for the seam of the keeper: the NUMBER-th call that it makes while there
is a file GO comes behind a SIGTERM to itself. GO.struck says that it has come.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from supervisord_lite import cli
from supervisord_lite.keeper import __main__ as keeper
from supervisord_lite.keeper.calls import Calls


class StrikingCalls(Calls):
    """The real calls, one of them behind a signal."""

    def __init__(self, number: int, go: str) -> None:
        self._left = number
        self._go = go
        self._pid = os.getpid()
        for kind in dir(Calls):  # its own and those of its bases
            if not kind.startswith("_"):
                setattr(self, kind, self._struck(getattr(self, kind)))

    def _struck(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def struck(*args: Any, **kwargs: Any) -> Any:
            if self._left and os.path.exists(self._go) and os.getpid() == self._pid:
                self._left -= 1
                if not self._left:
                    Path(f"{self._go}.struck").touch()
                    os.kill(self._pid, signal.SIGTERM)
            return call(*args, **kwargs)

        return struck


def main(number: str, go: str, *argv: str) -> int:
    """Be the daemon; return its exit status."""
    execv = os.execv

    def enter(_path: str, words: list[str]) -> NoReturn:
        os.execv = execv
        begun = words.index("keeper") + 1
        sys.exit(keeper.main(words[begun:], StrikingCalls(int(number), go)))

    os.execv = enter  # type: ignore[assignment]
    return cli.main(list(argv))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
