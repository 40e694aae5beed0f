"""Does what the schedule says; what lasts for a while is undone when its time is over."""

import heapq
import itertools
import os
import random  # noqa: TID251  # draws from a fault's own amount
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.soak import clients
from tests.soak.fleet import Fleet
from tests.soak.people import Operator
from tests.soak.processes import Family, Process, look, send
from tests.soak.schedule import Fault
from tests.soak.watch import Watch
from tests.support.daemon import Daemon
from tests.support.wait import pass_time

_BY_PEOPLE = frozenset(
    {
        "stop", "start", "restart", "roll", "scale", "reload_same", "reload_broken",
        "reload_changed", "dry_run", "reset", "sample", "ask", "upgrade",
    }
)  # fmt: skip
_CLIENTS: dict[str, Callable[[Daemon, Fault], clients.Undo | None]] = {
    "client_hangs": clients.hangs,
    "client_halves": clients.halves,
    "client_junk": clients.junk,
    "client_deaf": clients.deaf,
    "client_leaves": clients.leaves,
    "crowd": clients.crowd,
    "visit": clients.visit,
}
#: Ten supervisors in a row that die before they answer end the daemon, and are meant to.
_KILLS_WITHOUT_ANSWER = 4
#: One that hangs is found when somebody asks, after five seconds.
_HANG_S = 60.0
_FROZEN_S = 2.5
_KEPT = 60
#: A child of the supervisor is there as soon as somebody asks.
_CHILD_S = 0.5


class Chaos:
    """One fault after the other.

    Attributes:
        done: How often each kind has happened; "kind (nobody)": there was none to whom.
        story: The latest ones, for people.
    """

    def __init__(self, daemon: Daemon, fleet: Fleet, operator: Operator, watch: Watch) -> None:
        """Take the daemon to torment, and whoever must know of it."""
        self._daemon = daemon
        self._fleet = fleet
        self._operator = operator
        self._watch = watch
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._kills_without_answer = 0
        self._answers_seen = 0
        self._ballast: Path | None = None
        self._thaw: subprocess.Popen[bytes] | None = None
        self.done: Counter[str] = Counter()
        self.story: deque[str] = deque(maxlen=_KEPT)

    @property
    def undo_at_s(self) -> float | None:
        """When something is to be undone; None: nothing."""
        return self._undo[0][0] if self._undo else None

    def undo_due(self, now_s: float) -> None:
        """Undo what has lasted long enough."""
        while self._undo and self._undo[0][0] <= now_s:
            heapq.heappop(self._undo)[2]()

    def undo_all(self) -> None:
        """Undo everything."""
        self.undo_due(float("inf"))
        if self._thaw is not None:
            self._thaw.wait()
            self._thaw = None

    def _later(self, wait_s: float, undo: Callable[[], None] | None) -> None:
        if undo is not None:
            heapq.heappush(self._undo, (time.monotonic() + wait_s, next(self._numbers), undo))

    def do(self, fault: Fault, now_s: float) -> None:
        """Let it happen."""
        if fault.kind in _BY_PEOPLE:
            self._operator.order(fault)
            has_happened = True
        elif fault.kind in _CLIENTS:
            undo = _CLIENTS[fault.kind](self._daemon, fault)
            self._later(0.2 + 4 * fault.amount, undo)
            has_happened = True
        else:
            method: Callable[[Fault], bool] = getattr(self, f"_{fault.kind}")
            has_happened = method(fault)
        self.done[fault.kind if has_happened else f"{fault.kind} (nobody)"] += 1
        late_s = time.monotonic() - now_s
        self.story.append(f"{fault}{'' if has_happened else ' (nobody)'}, {late_s:.2f} s late")

    # -- workers -----------------------------------------------------------------------------------

    def _leader(self, slot: str) -> Process | None:
        pid = self._watch.pids.get(slot)
        found = None if pid is None else look(pid)
        return found if found and found.parent == self._daemon.keeper_pid else None

    def _kill_worker(self, fault: Fault) -> bool:
        victim = self._leader(fault.target)
        return victim is not None and send(victim, signal.SIGKILL)

    def _kill_many(self, fault: Fault) -> bool:
        slots = self._fleet.slots("kill")
        those = random.Random(fault.amount).sample(slots, min(10, len(slots)))
        victims = [found for slot in those if (found := self._leader(slot))]
        return sum(send(victim, signal.SIGKILL) for victim in victims) > 0

    def _pause_worker(self, fault: Fault) -> bool:
        victim = self._leader(fault.target)
        if victim is None or not send(victim, signal.SIGSTOP):
            return False
        self._later(0.1 + 3 * fault.amount, lambda: self._go_on(victim))
        return True

    def _go_on(self, *victims: Process) -> None:
        for victim in victims:
            send(victim, signal.SIGCONT)

    def _flood(self, fault: Fault) -> bool:
        victim = self._leader(fault.target)
        # Before it has said that it obeys signals this one would end it, and so does a kill.
        return victim is not None and send(victim, signal.SIGUSR1)

    # -- the daemon's own processes ----------------------------------------------------------------

    def _family(self) -> Family:
        return Family(self._daemon.keeper_pid)

    def _may_kill_supervisor(self) -> bool:
        if self._watch.answers != self._answers_seen:
            self._answers_seen, self._kills_without_answer = self._watch.answers, 0
        self._kills_without_answer += 1
        return self._kills_without_answer <= _KILLS_WITHOUT_ANSWER

    def _kill(self, role: str, family: Family | None = None) -> bool:
        victim = (family or self._family()).role(role)
        if victim is None:
            return False
        if role == "supervisor":
            if not self._may_kill_supervisor():
                return False
            self._watch.supervisor_killed()
        return send(victim, signal.SIGKILL)

    def _kill_supervisor(self, _fault: Fault) -> bool:
        return self._kill("supervisor")

    def _kill_scribe(self, _fault: Fault) -> bool:
        return self._kill("scribe")

    def _kill_both(self, _fault: Fault) -> bool:
        family = self._family()
        return any([self._kill("scribe", family), self._kill("supervisor", family)])

    def _pause(self, roles: tuple[str, ...], pause_s: float, *, deaf: bool) -> bool:
        own = dict(self._family().own())
        victims = [own[role] for role in roles if role in own]
        if deaf:
            self._watch.nobody_answers(pause_s + 1.0)
        if not sum(send(victim, signal.SIGSTOP) for victim in victims):
            return False
        self._later(pause_s, lambda: self._go_on(*victims))
        return True

    def _pause_supervisor(self, fault: Fault) -> bool:
        return self._pause(("supervisor",), 0.1 + 2 * fault.amount, deaf=True)

    def _pause_scribe(self, fault: Fault) -> bool:
        return self._pause(("scribe",), 0.1 + 3 * fault.amount, deaf=False)

    def _pause_all(self, fault: Fault) -> bool:
        roles = ("keeper", "supervisor", "scribe")
        return self._pause(roles, 0.1 + 2 * fault.amount, deaf=True)

    def _hang_supervisor(self, _fault: Fault) -> bool:
        """Stop it for good: somebody must find it and replace it."""
        victim = self._family().role("supervisor")
        if victim is None:
            return False
        self._watch.nobody_answers(_HANG_S, until_gone=victim)
        return send(victim, signal.SIGSTOP)

    def _kill_forkserver(self, fault: Fault) -> bool:
        servers = self._family().forkservers()
        return bool(servers) and send(servers[int(fault.amount * len(servers))], signal.SIGKILL)

    def _kill_children(self, fault: Fault) -> bool:
        """Of the supervisor: who reads the file, looks at processes, reads the journal."""
        kind = ("sample", "dry_run", "reload_same", "read")[int(4 * fault.amount)]
        self._operator.order(replace(fault, kind=kind))
        end_s = time.monotonic() + _CHILD_S
        while time.monotonic() < end_s:
            family = self._family()
            supervisor = family.role("supervisor")
            children = [] if supervisor is None else family.children(supervisor.pid)
            if sum(send(child, signal.SIGKILL) for child in children):
                return True
            pass_time(0.005)
        return False

    def _hangup_storm(self, fault: Fault) -> bool:
        for _ in range(2 + int(fault.amount * 40)):
            os.kill(self._daemon.keeper_pid, signal.SIGHUP)
        return True

    def _reopen(self, _fault: Fault) -> bool:
        os.kill(self._daemon.keeper_pid, signal.SIGUSR1)
        return True

    # -- disks -------------------------------------------------------------------------------------

    def _disk_full(self, fault: Fault) -> bool:
        if self._fleet.full is None or self._ballast is not None:
            return False
        self._ballast = self._fleet.full / "ballast"
        with self._ballast.open("wb", 0) as file:
            try:
                while file.write(b"x" * 65536):
                    pass
            except OSError:
                self._later(0.5 + 4 * fault.amount, self._have_room)
        return True

    def _have_room(self) -> None:
        assert self._ballast is not None
        self._ballast.unlink()
        self._ballast = None

    def _disk_frozen(self, fault: Fault) -> bool:
        """Thawed by a process of its own, so that it thaws whatever becomes of us."""
        if self._thaw is not None and self._thaw.poll() is None:
            return False
        for_s = 0.2 + _FROZEN_S * fault.amount
        script = f'fsfreeze --freeze "$0" && sleep {for_s:.2f}; fsfreeze --unfreeze "$0"'
        self._thaw = subprocess.Popen(["sh", "-c", script, str(self._fleet.ice)])
        return True
