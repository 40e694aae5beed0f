"""What the next service would begin with, if the keeper died now: kept in a file.

Nobody can write it then, so it is written before: whenever a breaker opens or closes, somebody
stops or scales something by hand, or, less urgently, something fails. Whoever writes is a child
(scribe/carry_child.py), one at a time; the latest wins, and nobody waits for a disk.

============================  =================================================================
state of the daemon           the file
============================  =================================================================
all is as it begins           there is none
something is worth carrying   boot, token, tries, records, specs, sizes by hand
it stops, for any reason      removed as soon as the stop begins; the end waits for that, but not
                              for a disk that does not answer
============================  =================================================================

So a file that `run` finds (cli/carried.py) was left by a keeper that died without a verdict, or
gave up. What is written has been saved with the keeper before, and so has, once, that there may be
a file: a successor never knows less than the disk. The child dies with its supervisor, so that what
it was about to write never comes after what a successor writes.

`run` leaves the file where it is and goes on under its token: killed at any moment, it can be
called again. Each time it counts one more try; when a service has lived for a while there are none
again. A record that kills supervisors is so tried a few times and then left alone.

The lock of the state folder names the token of the last keeper: what anybody else wrote, perhaps
when a frozen disk thawed, is nobody's.
"""

import json
from collections.abc import Callable

from supervisord_lite.base.clock import Clock
from supervisord_lite.config.spec import to_json
from supervisord_lite.core import records
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.carry import is_worth_carrying, stays_down
from supervisord_lite.core.states import Worker
from supervisord_lite.supervisor.child_file import AGAIN_S, EVERY_S, ChildFile
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.escalation import StartNote
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.in_between import looking
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.reload import Reloads

VERSION = 1
#: In the state folder.
FILE_NAME = "carry.json"
#: Among the saves: what tells this keeper's chain of lives and this boot from others, and how often
#: the file was taken over in a row.
LIFE = "carry/life"
#: Among the saves: the file may be there.
MAY_BE_THERE = "carry/may_be_there"
#: So much later is written what is not urgent: a fleet in trouble fails all the time.
_FAILURES_AFTER_S = 5.0
#: When this long has passed, what was taken over has not killed anybody.
_PROVED_S = 30.0


class CarryFile:
    """Keeps the file as the workers and the sizes are."""

    def __init__(
        self,
        fleet: Fleet,
        reloads: Reloads,
        daemon: DaemonState,
        poller: Poller,
        saves: dict[str, str],
        clock: Clock,
        log: Callable[..., None],
        start_note: StartNote,
    ) -> None:
        """Go on with what an earlier supervisor, or service, may have left on the disk.

        Args:
            fleet: Whose workers these are.
            reloads: Knows sizes set by hand.
            daemon: Knows whether it stops.
            poller: Wakes the loop when the child has something to say.
            saves: What the keeper kept.
            clock: Now.
            log: The journal.
            start_note: Starts the child that writes: (path, content, now_s=, limit_s=).
        """
        self._fleet = fleet
        self._reloads = reloads
        self._daemon = daemon
        self._clock = clock
        self._log = log
        self._life = json.loads(saves.get(LIFE, '{"token": "", "boot_id": "", "tries": 0}'))
        self._may_be_there = MAY_BE_THERE in saves
        self._file = ChildFile(
            f"{fleet.settings.state_dir}/{FILE_NAME}", "" if self._may_be_there else None,
            start_note=start_note, poller=poller, clock=clock, on_failed=self._failed,
        )  # fmt: skip
        self._hands = reloads.in_force.by_hand
        self._is_given_up = False
        self._was_stopping = False
        now_s = clock.now_s()
        self._began_s = now_s
        self._last_s = -EVERY_S
        #: When something is to be written; None: nothing is.
        self._due_s: float | None = now_s + _PROVED_S if self._life["tries"] else now_s
        fleet.listen(self._stepped)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del slot, told
        if stays_down(before) != stays_down(after):
            self._want(self._last_s + EVERY_S)
        elif before.failures is not after.failures:
            self._want(self._clock.now_s() + _FAILURES_AFTER_S)

    def _want(self, at_s: float) -> None:
        self._due_s = at_s if self._due_s is None else min(self._due_s, at_s)

    def go_on(self, now_s: float) -> None:
        """Begin to write what is due, unless a child is at it.

        Call it when all that has been decided has been sent to the keeper.
        """
        if self._reloads.in_force.by_hand is not self._hands:
            self._hands = self._reloads.in_force.by_hand
            self._want(self._last_s + EVERY_S)
        if self._daemon.is_stopping and not self._was_stopping:
            self._was_stopping = True
            self._due_s = now_s
        if self._file.is_busy or self._due_s is None or now_s < self._due_s:
            return
        content = None if self._daemon.is_stopping else self._content(now_s)
        text = None if content is None else json.dumps(content)
        self._fleet.look()
        if text == self._file.on_disk:
            self._due_s = None
        elif not self._may_be_there:
            self._may_be_there = True
            self._fleet.outbox.save(MAY_BE_THERE, "1", first=True)  # first this, then the child
        else:
            self._due_s = None
            if self._life["tries"] and now_s < self._began_s + _PROVED_S:
                self._want(self._began_s + _PROVED_S)
            self._last_s = now_s
            self._file.write(content, text, now_s)

    def _content(self, now_s: float) -> dict[str, object] | None:
        workers = [
            worker
            for slot, worker in self._fleet.workers.items()
            if is_worth_carrying(worker) and slot not in self._fleet.leaving
        ]
        look = self._fleet.look
        sizes = {pool: [hand.size, hand.file_size] for pool, hand in self._hands.items()}
        if not workers and not sizes:
            return None
        pools = dict.fromkeys(worker.pool for worker in workers)
        return {
            "v": VERSION,
            **self._life,
            "tries": self._life["tries"] if now_s < self._began_s + _PROVED_S else 0,
            "sizes": sizes,
            "specs": {pool: to_json(self._fleet.specs[pool]) for pool in looking(pools, look)},
            "records": [records.to_record(worker) for worker in looking(workers, look)],
        }

    def _failed(self, reason: str) -> None:
        self._log("warning", "carry.not_written", path=self._file.path, reason=reason)
        if self._daemon.is_stopping and self._file.writing is None:
            self._is_given_up = True  # not where only a writing has failed: what is full can shrink
        self._want(self._clock.now_s() + AGAIN_S)

    @property
    def deadline_s(self) -> float | None:
        """When to look at it again."""
        return self._file.deadline_s if self._file.is_busy else self._due_s

    def expire(self, now_s: float) -> None:
        """Give up a child whose disk does not answer."""
        self._file.expire(now_s)

    @property
    def is_gone(self) -> bool:
        """Whether a service that ends need not wait any more: no file is left, or none can be."""
        return self._file.on_disk is None or self._is_given_up
