"""Looks at the daemon from outside, all the time: does it answer, and is what it says true?

What must hold at any moment is judged here, by a thread that orders nothing. Whatever must not be
is noted once (`broken`), and the soak ends with it.

A machine that is busy makes everybody late. So what the kernel counts as time in which a process
was ready and had no processor is forgiven: that of the one who asks, of the keeper and of the
supervisor. Nothing else is: neither the death of a supervisor nor that there are many workers.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.soak.fleet import WORLD, Fleet
from tests.soak.processes import Family, Process, look, variable
from tests.support.daemon import Daemon, MethodFailedError
from tests.support.house import starved_s

_MANAGER = "io.supervisordlite.Manager"
EVERY_S = 0.1
#: Between two looks at everybody.
LOOK_S = 1.0
#: In one of a hundred questions it may take longer than the second that is promised, for the
#: kernel does not count all that it has us wait for.
P99_S = 1.0
LONGEST_S = 5.0
#: What is being told just now may be said late, or early.
_DOUBTFUL_S = 3.0


class Watch:
    """The one who looks.

    Attributes:
        broken: What must not be, with its evidence; empty while all is well.
        pids: Of each worker that was said to have one, at the latest look.
        workers: All that was said of them then.
        answers: How many questions were answered.
        waits_s: How long each answer took, without what is forgiven, in seconds.
        raw_s: The same with it.
        excused: How many questions nobody could have answered.
        looks: How often every pid was compared with /proc.
        longest_stall_s: That the daemon says of its own loops, by process.
    """

    def __init__(self, daemon: Daemon, fleet: Fleet) -> None:
        """Begin to look."""
        self._daemon = daemon
        self._fleet = fleet
        self.broken = ""
        self.pids: dict[str, int] = {}
        self.workers: list[dict[str, Any]] = []
        self.answers = 0
        self.waits_s: list[float] = []
        self.raw_s: list[float] = []
        self.excused = 0
        self.looks = 0
        self.longest_stall_s: dict[str, float] = {}
        self._calm: dict[str, int] = {}
        self._doubts: dict[tuple[str, int], float] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._killed_s = float("-inf")
        self._deaf: tuple[float, float] = (float("-inf"), float("-inf"))
        self._hung: Process | None = None
        self._supervisor = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join(60)

    def supervisor_killed(self) -> None:
        """Whoever asks now is answered by the next one: a second counts from here."""
        self._killed_s = time.monotonic()

    def nobody_answers(self, span_s: float, until_gone: Process | None = None) -> None:
        """For so long nobody can answer; at most until a moment after *until_gone* has gone."""
        now_s = time.monotonic()
        since_s, until_s = self._deaf
        self._deaf = (now_s if until_s < now_s else since_s, max(until_s, now_s + span_s))
        self._hung = until_gone or self._hung

    def _run(self) -> None:
        look_s = 0.0
        while not self._is_over.wait(EVERY_S) and not self.broken:
            try:
                self._ask()
                self._heed_shouts()
                if time.monotonic() >= look_s + LOOK_S:
                    self._look()
                    look_s = time.monotonic()
            except Exception as error:  # noqa: BLE001  # the soak says it, and ends
                self._break(f"who looks has failed: {error!r}")

    def _break(self, words: str) -> None:
        self.broken = self.broken or words

    # -- does it answer? ---------------------------------------------------------------------------

    def _is_excused(self, since_s: float) -> bool:
        """Return whether nobody could answer at some time since then."""
        if self._hung is not None and (now := look(self._hung.pid)) is not None:
            is_it = now.started == self._hung.started and now.state != "Z"
        else:
            is_it = False
        if self._hung is not None and not is_it:
            self._hung = None
            self._deaf = (self._deaf[0], time.monotonic() + 1.0)
        return since_s < self._deaf[1] and self._deaf[0] < time.monotonic()

    def _starved_s(self) -> dict[int, float]:
        pids = (self._daemon.keeper_pid, self._supervisor, threading.get_native_id())
        return {pid: starved_s(pid) for pid in pids if pid}

    def _ask(self) -> None:
        """Ask a small question until it is answered, and note how long that took."""
        begun_s, before = time.monotonic(), self._starved_s()
        told: dict[str, Any] = {}
        while not self._is_over.is_set():
            if (code := self._daemon.process and self._daemon.process.poll()) is not None:
                self._break(f"the daemon has ended with {code}")
                return
            try:
                told = self._daemon.call(f"{_MANAGER}.Status", names=["calm"], timeout_s=20)
                break
            except OSError:
                took_s = time.monotonic() - max(begun_s, self._killed_s)
                if took_s > LONGEST_S * 4 and not self._is_excused(begun_s):
                    self._break(f"nobody has answered for {took_s:.1f} s")
                    return
                self._is_over.wait(0.005)
        else:
            return
        raw_s = time.monotonic() - max(begun_s, min(self._killed_s, time.monotonic()))
        self._supervisor = told["supervisor"]["pid"]
        after = self._starved_s()
        forgiven_s = sum(after[pid] - before.get(pid, 0.0) for pid in after)
        self._note_answer(begun_s, raw_s, raw_s - forgiven_s)
        for loop in told["supervisor"]["loops"]:
            known = self.longest_stall_s.get(loop["process"], 0.0)
            self.longest_stall_s[loop["process"]] = max(known, loop["longest_stall_s"])
        self._judge_neighbours(told["workers"])

    def _note_answer(self, begun_s: float, raw_s: float, wait_s: float) -> None:
        self.answers += 1
        if self._is_excused(begun_s):
            self.excused += 1
            return
        self.raw_s.append(raw_s)
        self.waits_s.append(max(0.0, wait_s))
        if wait_s > LONGEST_S:
            self._break(f"an answer took {raw_s:.2f} s, {wait_s:.2f} s of which nobody explains")

    def _judge_neighbours(self, workers: list[dict[str, Any]]) -> None:
        """The pool to which nothing happens has the same processes for ever."""
        for each in workers:
            known = self._calm.get(each["name"])
            if known is None and each["state"] == "running":
                self._calm[each["name"]] = each["pid"]
            elif known is not None and (each["pid"] != known or each["restarts"]):
                self._break(f"{each['name']} was {known}, and is {each}")

    def _heed_shouts(self) -> None:
        path = self._daemon.folder / WORLD / "shouts"
        if path.exists():
            self._break(path.read_text())

    # -- is it true? -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Compare what is said of every worker with /proc."""
        try:
            told = self._daemon.call(f"{_MANAGER}.Status", names=[], timeout_s=20)
        except (OSError, MethodFailedError):
            return  # the short question is the one that is judged
        self.workers = told["workers"]
        self.pids = {each["name"]: each["pid"] for each in self.workers if each["pid"]}
        family = Family(self._daemon.keeper_pid)
        doubts = dict(self._doubtful(family))
        now_s = time.monotonic()
        if self._is_excused(now_s - _DOUBTFUL_S):
            self._doubts.clear()
            return
        self._doubts = {key: self._doubts.get(key, now_s) for key in doubts}
        for key, since_s in self._doubts.items():
            if now_s - since_s > _DOUBTFUL_S + self._starved_lately_s():
                self._break(f"not true for {now_s - since_s:.1f} s: {doubts[key]}")
        self.looks += 1

    def _starved_lately_s(self) -> float:
        """Return how long the supervisor that answers now has starved in all its life."""
        return starved_s(self._supervisor) if self._supervisor else 0.0

    def _doubtful(self, family: Family) -> Iterator[tuple[tuple[str, int], str]]:
        """Yield what is said and not so, and what is so and not said."""
        said: set[int] = set()
        for each in self.workers:
            if each["last_exit"] and each["last_exit"]["code"] == 97:
                self._break(f"two live processes of one slot: {each}")
            pid = each["pid"]
            if pid is None:
                continue
            said.add(pid)
            found = family.all.get(pid)
            key = (each["name"], pid)
            if found is None or found.parent != family.root:
                yield key, f"{each['name']} is said to be {pid}, which is {found}"
            elif self._name(found) not in (each["name"], ""):
                yield key, f"{pid} is {self._name(found)}, not {each['name']}"
        own = {each.pid for _, each in family.own()} | {each.pid for each in family.forkservers()}
        for found in family.children(family.root):
            is_leader = found.session == found.pid
            if is_leader and found.pid not in said | own and (name := self._name(found)):
                yield (name, found.pid), f"{found} lives, is {name}, and is not in the status"

    def _name(self, process: Process) -> str:
        """Return which worker a process says that it is; remembered, for it does not change."""
        key = (process.pid, process.started)
        if key not in self._names:
            with suppress(OSError):
                name = variable(process.pid, "SUPERVISORD_LITE_NAME")
                if not name:  # in the middle of exec, or of its end
                    return ""
                self._names[key] = name
        return self._names.get(key, "")


def p99(values: list[float]) -> float:
    """Return what one of a hundred exceeds."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))] if values else 0.0


def count_files(folder: Path) -> int:
    """Return how many files and folders there are below one."""
    return sum(1 for _ in folder.rglob("*"))
