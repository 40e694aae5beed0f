"""Whom the kernel kills where memory is short: a worker, before any of the daemon's own processes.

The unit says OOMScoreAdjust=-900, which every process below it inherits. So whatever is started for
a worker goes back to 0, as it would be anywhere else. A child that is still ours does that by
itself, before it gives up its rights; but where we are not root, our own /proc is closed to us
(PR_SET_DUMPABLE), so for such a one, and where there was no child of ours in between (vfork), it is
done when its program runs. A daemon that is not spared passes on what it has.
"""

from __future__ import annotations

from supervisord_lite.keeper.calls import read_text, write_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from supervisord_lite.keeper.calls import Calls

_FILE = "/proc/{}/oom_score_adj"


def is_spared(calls: Calls) -> bool:
    """Return whether the kernel is told to choose others than this process."""
    try:
        return int(read_text(calls, _FILE.format("self"))) < 0
    except (OSError, ValueError):
        return False


def spare_no_more(calls: Calls, pid: int | None = None) -> None:
    """Let the kernel choose a process (None: this one) as it would any other, as far as we may."""
    try:
        write_text(calls, _FILE.format("self" if pid is None else pid), "0")
    except OSError:
        return  # it has ended, or it is another user's by now: then it did so itself
