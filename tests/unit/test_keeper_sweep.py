"""Trees without a cgroup, over a /proc that changes while it is looked at."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.table import Run
from supervisord_lite.keeper.trees import Trees
from tests.support.keeper import replace_calls

ME = os.getpid()
MARKER = "0123456789abcdef"


@dataclass
class Fake:
    """A process as /proc shows it."""

    pid: int
    parent: int = ME
    session: int = 1
    marker: str | None = None
    state: str = "S"
    started: int = 5
    threads: int = 1
    is_executing: bool = False
    has_environment: bool = True

    def stat(self) -> str:
        head = f"{self.pid} (a b) {self.state} {self.parent} {self.pid} {self.session} "
        env_start = 0 if self.is_executing or self.state == "Z" else 140000
        rest = ["0"] * 48
        rest[17 - 4], rest[19 - 4], rest[47 - 4] = map(str, (self.threads, self.started, env_start))
        return head + " ".join(rest)

    def environ(self) -> str:
        if self.is_executing or self.state == "Z" or not self.has_environment:
            return ""
        return f"A=b\0INVOCATION_ID={self.marker}\0" if self.marker else "A=b\0"


class FakeProc(Calls):
    """Processes by pid. A SIGKILL takes effect at once and leaves a zombie.

    Attributes:
        before: Called with each path before it is opened: races happen here.
        signals: (pid, number) of each signal sent.
    """

    def __init__(self, *processes: Fake) -> None:
        self.all = {process.pid: process for process in processes}
        self.before: Callable[[str], None] = lambda _path: None
        self.signals: list[tuple[int, int]] = []
        self._texts: list[bytes] = []
        replace_calls(
            self, open=self._open, read=self._read, close_once=lambda _fd: None,
            listdir=self._listdir, kill=self._kill, pidfd_open=self._pidfd_open,
            pidfd_send_signal=self._kill,
        )  # fmt: skip

    def _open(self, path: str, _flags: int) -> int:
        self.before(path)
        if path == f"/proc/{ME}/task/{ME}/children":
            text = " ".join(str(p.pid) for p in self.all.values() if p.parent == ME)
        else:
            _, _, pid, file = path.split("/")
            if int(pid) not in self.all:
                raise FileNotFoundError(path)
            found = self.all[int(pid)]
            text = found.stat() if file == "stat" else found.environ()
        self._texts.append(text.encode())
        return len(self._texts) - 1

    def _read(self, descriptor: int, _most: int) -> bytes:
        data, self._texts[descriptor] = self._texts[descriptor], b""
        return data

    def _listdir(self, path: str) -> list[str]:
        assert path == "/proc"
        self.before(path)
        return ["self", "1", *map(str, self.all)]

    def _pidfd_open(self, pid: int) -> int:
        if pid not in self.all:
            raise ProcessLookupError(pid)
        return pid

    def _kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        if number == 9:
            self.end(pid)

    def end(self, pid: int) -> None:
        """Let a process become a zombie; its children are ours."""
        self.all[pid].state = "Z"
        for process in self.all.values():
            if process.parent == pid:
                process.parent = ME

    def reap(self) -> None:
        for pid in [p.pid for p in self.all.values() if p.state == "Z" and p.parent == ME]:
            del self.all[pid]


def a_run(pid: int = 100, *, ended: bool = True, marker: str = MARKER) -> Run:
    run = Run(("web", 1, pid), pid, marker, None)
    run.ended = ended
    return run


def clear(proc: FakeProc, run: Run, *, known: set[int] | None = None, rounds: int = 20) -> int:
    """Do rounds until the run is empty; return how many it took."""
    trees = Trees(proc, None, known or set())
    trees.clear(run, 0.0)
    for number in range(1, rounds + 1):
        if trees.turn(float(number)):
            assert trees.next_round_s is None
            return number
        proc.reap()
    raise AssertionError(proc.all)


def test_nothing_left_is_seen_without_looking_at_everything() -> None:
    """Whoever has no children but known ones has no orphans."""
    proc = FakeProc(Fake(50))
    proc.before = lambda path: pytest.fail("looked at all") if path == "/proc" else None

    assert clear(proc, a_run(), known={50}) == 1


@pytest.mark.parametrize(
    "orphan", [Fake(200, marker=MARKER), Fake(200, session=100), Fake(200, started=77)]
)
def test_an_orphan_is_known_by_marker_session_or_record(orphan: Fake) -> None:
    """Any one of the three is enough; what hangs below it goes with it."""
    proc = FakeProc(orphan, Fake(201, parent=200, session=201), Fake(300))
    run = a_run()
    run.recorded = {200: 77}

    clear(proc, run)

    assert {pid for pid, _ in proc.signals} == {200, 201}
    assert run.killed == ["200 a b", "201 a b"]


def test_a_recorded_descendant_is_found_below_a_stranger() -> None:
    """One that was seen at the stop is killed wherever it hangs by now."""
    proc = FakeProc(Fake(200), Fake(201, parent=200, started=77))
    run = a_run()
    run.recorded = {201: 77}

    clear(proc, run)

    assert proc.signals == [(201, 9)]


def test_a_pid_that_was_given_away_again_is_left_alone() -> None:
    """Recorded was another process of the same number."""
    proc = FakeProc(Fake(200, started=78))
    run = a_run()
    run.recorded = {200: 77}

    clear(proc, run)

    assert proc.signals == []


def test_a_pid_given_away_between_look_and_signal_is_left_alone() -> None:
    """It is verified again while the pidfd is open."""
    proc = FakeProc(Fake(200, marker=MARKER))

    looks: list[str] = []

    def swap(path: str) -> None:
        if path == "/proc/200/stat":
            looks.append(path)
            if len(looks) == 2:
                proc.all[200] = Fake(200, started=99)

    proc.before = swap

    clear(proc, a_run())

    assert proc.signals == []


def test_a_leaders_pid_that_another_leader_has_now_is_no_mark() -> None:
    """Orphans in the new leader's session belong to the new leader."""
    proc = FakeProc(Fake(100), Fake(201, session=100, marker="other"))

    clear(proc, a_run(100), known={100})

    assert proc.signals == []


def test_workers_of_others_are_never_visited() -> None:
    """Below a leader that is not being cleared nobody is touched, whatever it looks like."""
    proc = FakeProc(Fake(50), Fake(51, parent=50, marker=MARKER, session=100))

    clear(proc, a_run(), known={50})

    assert proc.signals == []


def test_one_forked_behind_the_scans_back_is_not_missed() -> None:
    """Its parent was alive when the list was made, and dead when it was looked at."""
    proc = FakeProc(Fake(200, marker=MARKER))

    def hop(path: str) -> None:
        if path == "/proc/200/stat" and 300 not in proc.all:
            proc.all[300] = Fake(300, parent=200, marker=MARKER)
            proc.end(200)

    proc.before = hop

    clear(proc, a_run())

    assert (300, 9) in proc.signals


def test_a_process_in_the_middle_of_exec_is_waited_for() -> None:
    """While it has no environment to read nobody says that the tree is empty."""
    proc = FakeProc(Fake(200, marker=MARKER, is_executing=True))
    trees = Trees(proc, None, set())
    run = a_run()
    trees.clear(run, 0.0)

    for number in range(5):
        assert trees.turn(float(number)) == []
    assert proc.signals == []
    proc.all[200].is_executing = False
    assert trees.turn(6.0) == []
    assert proc.signals == [(200, 9)]
    proc.reap()
    assert trees.turn(7.0) == [run]


def test_a_cleared_environment_is_not_waited_for() -> None:
    """A stranger without any mark does not keep a run from being empty."""
    proc = FakeProc(Fake(200, has_environment=False))

    assert clear(proc, a_run()) == 1
    assert proc.signals == []


def test_a_process_whose_main_thread_ended_is_alive() -> None:
    """It says zombie, and works on in other threads."""
    proc = FakeProc(Fake(200, session=100, state="Z", threads=2))
    trees = Trees(proc, None, set())
    run = a_run()
    trees.clear(run, 0.0)

    assert trees.turn(0.0) == []
    assert proc.signals == [(200, 9)]
    proc.all[200].threads = 1
    assert trees.turn(1.0) == [run]


@pytest.mark.parametrize("path", ["/proc", "/proc/200/stat", "/proc/200/environ", "children"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_who_cannot_look_does_not_say_empty(path: str, number: int) -> None:
    """Out of descriptors or memory, the round is done again later."""
    proc = FakeProc(Fake(200, marker=MARKER))
    left = [1]

    def refuse(opened: str) -> None:
        if opened.endswith(path) and left:
            left.clear()
            raise OSError(number, os.strerror(number))

    proc.before = refuse

    assert clear(proc, a_run()) > 1
    assert (200, 9) in proc.signals


def test_processes_that_may_not_be_seen_are_no_obstacle() -> None:
    """Under hidepid the folders of others are closed; ours are not among them."""
    proc = FakeProc(Fake(200, marker=MARKER), Fake(300, parent=1))

    def refuse(opened: str) -> None:
        if opened == "/proc/300/stat":
            raise PermissionError(errno.EPERM, opened)

    proc.before = refuse

    clear(proc, a_run())

    assert proc.signals == [(200, 9)]


def test_a_live_leader_is_killed_by_its_parent_and_waited_for() -> None:
    """Empty is said only after it has been reaped."""
    proc = FakeProc(Fake(100, session=100), Fake(101, parent=100, session=100))
    run = a_run(ended=False)
    trees = Trees(proc, None, {100})
    trees.clear(run, 0.0)

    assert trees.turn(0.0) == []
    assert sorted(proc.signals) == [(100, 9), (101, 9)]
    assert trees.turn(1.0) == []
    run.ended = True
    proc.all.clear()
    assert trees.turn(2.0) == [run]


def test_a_refused_signal_is_no_fault() -> None:
    """A worker that became another user cannot be signalled; the daemon goes on."""
    proc = FakeProc(Fake(100, session=100), Fake(101, parent=100, session=100))

    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError(errno.EPERM, "no")

    replace_calls(proc, kill=refuse, pidfd_send_signal=refuse)
    run = a_run(ended=False)
    trees = Trees(proc, None, {100})

    trees.signal(run, 15)
    trees.signal_leader(run, 15)
    trees.clear(run, 0.0)
    assert trees.turn(0.0) == []


def test_a_reaped_leader_is_never_signalled() -> None:
    """Its number may be anybody's by now."""
    proc = FakeProc(Fake(100))
    trees = Trees(proc, None, set())

    trees.signal_leader(a_run(100), 15)
    trees.signal(a_run(100, marker="none"), 15)

    assert proc.signals == []


def test_rounds_come_less_often_while_nothing_changes() -> None:
    """Something that cannot die costs one look a second, and others' ends are not delayed."""
    proc = FakeProc(Fake(200, marker=MARKER))
    replace_calls(proc, pidfd_send_signal=lambda _pid, _number: None)
    trees = Trees(proc, None, set())
    trees.clear(a_run(), 0.0)
    pauses = []
    for number in range(14):
        trees.turn(float(number))
        assert trees.next_round_s is not None
        pauses.append(trees.next_round_s - number)

    assert pauses[0] == pytest.approx(0.002)
    assert pauses[-1] == 1.0
    trees.clear(a_run(101), 20.0)
    assert trees.next_round_s == 20.0


def test_names_of_what_was_killed_are_bounded() -> None:
    """A fork bomb does not fill the keeper's memory."""
    proc = FakeProc(*(Fake(pid, marker=MARKER) for pid in range(1000, 1200)))
    run = a_run()

    clear(proc, run)

    assert len(run.killed) == 50
    assert len(proc.signals) == 200
