"""A keeper that is replaced by other code in its place: nothing is lost, doubled or left open."""

import errno
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base.memory_files import memory_file
from supervisord_lite.keeper.traces import records
from tests.support import leftovers
from tests.support.forkserver import a_server, forked
from tests.support.keeper import as_subreaper, marked, replace_calls, request
from tests.support.keeper_alone import CHECKOUT, HERE, AloneKeeper
from tests.support.keeper_told import alone, count, facts_of, is_gone, log, seeded
from tests.support.keeper_whole import SeamCalls, WholeKeeper
from tests.support.slow import unanswering
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: to see what the keeper has open"
)

#: Reads its stdin, and counts the lines.
READER = "n=0; while read -r line; do n=$((n+1)); echo $n $line; done"


def descriptors(pid: int) -> dict[int, tuple[str, bool]]:
    """Return what a process has open beyond its outputs, and whether that is closed on exec."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
            said = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
        except OSError:  # the listing's own
            continue
        if int(name) > 2 and not link.startswith("/proc/"):  # it looks at a process just now
            flags = int(said.split("flags:\t")[1].split()[0], 8)
            found[int(name)] = link, bool(flags & 0o2000000)
    return found


def environment_of(pid: int) -> set[bytes]:
    """Return the names of a process's variables."""
    text = Path(f"/proc/{pid}/environ").read_bytes()
    listed = (each.partition(b"=")[0] for each in text.split(b"\0"))
    return {name for name in listed if not name.startswith(b"LISTEN_")}


def rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def household(keeper: AloneKeeper) -> None:
    """Let there be one of everything that is handed on."""
    unix = {
        "key": "web", "name": "web", "kind": "unix", "host": "", "place": f"{keeper.folder}/web",
        "mode": 0o600, "uid": None, "gid": None, "backlog": 8, "fd": 3,
    }  # fmt: skip
    private = {**unix, "key": "p", "kind": "private", "place": f"{keeper.folder}/w/own/p", "fd": 4}
    keeper.say(
        listeners=[["pager", 1, "pager"]],
        feed=[["pager", 1, f"line {n} {'.' * 200}"] for n in range(600)],
        events=["{}"],
        do=[
            marked(
                request("web", "sleep", "1000", sockets=[unix, private], stdout=log(keeper, "web"))
            ),
            marked(request("pager", "sleep", "1000", listens=True)),
            marked(request("voice", "sleep", "1000", notify=f"{keeper.folder}/w/voice")),
            marked(request("pipe", "sleep", "1000", ready_fd=3)),
            forked("forks", "rest", a_server(keeper.folder)),
        ],
    )
    keeper.until(lambda: count(keeper, "spawned", "") == 5, "they run")


@NEEDS_ROOT
def test_nothing_stays_open_that_was_not_handed_on_and_nothing_grows() -> None:
    """What was handed on has its number and is closed on exec again; what was not is gone."""
    with alone(cgroups=False) as keeper:
        household(keeper)
        keeper.replace()
        before, rss_before_kib = descriptors(keeper.pid), rss_kib(keeper.pid)
        for _ in range(10):
            keeper.replace()
        after = descriptors(keeper.pid)
        assert all(is_closed for _, is_closed in after.values())
        # Two channels, and two ends of the pipe that wakes it.
        changed = {number for number in before | after if before.get(number) != after.get(number)}
        kinds = [
            after[number][0].partition(":")[0] for number in sorted(changed) if number in after
        ]
        assert sorted(kinds) == ["pipe", "pipe", "socket", "socket"], (before, after)
        assert len(before) == len(after)
        assert rss_kib(keeper.pid) < rss_before_kib + 4096
        first, last = keeper.handovers[0], keeper.handovers[-1]
        same = ("keeper_pid", "started_at_s", "has_cgroups", "dropped", "troubles")
        assert [first[name] for name in same] == [last[name] for name in same]
        assert last["adoption"] == len(keeper.handovers) - 1
        keeper.say(do=[marked(request("later", "sleep", "1000"))])
        keeper.until(lambda: count(keeper, "spawned", "later"), "one more runs")
        pids = {f["pool"]: f["pid"] for f in keeper.facts.values() if f["fact"] == "spawned"}
        soft = {name: resource.prlimit(pid, resource.RLIMIT_NOFILE) for name, pid in pids.items()}
        assert soft["later"] == soft["web"]
        wanted = environment_of(pids["web"])
        keeper.until(lambda: environment_of(pids["later"]) == wanted, "it has the same variables")


def test_what_the_next_run_would_look_for_is_written_down_by_each_of_them() -> None:
    """A line for each tree, before and after; and none for what has ended since."""
    with alone(cgroups=False) as keeper:
        household(keeper)

        def written() -> dict[str, int]:
            found, damaged = records(os.pread(keeper.traces, 1 << 20, 0))
            assert damaged == 0
            return {f"{line['what']} {line.get('name', '')}": line["pid"] for line in found}

        before = written()
        pids = {f["pool"]: f["pid"] for f in keeper.facts.values() if f["fact"] == "spawned"}
        assert {f"run {pool}": pid for pool, pid in pids.items()}.items() <= before.items()
        assert len(before) == len(pids) + 3, "and supervisor, scribe and a forkserver"

        keeper.replace()
        keeper.until(lambda: written().keys() == before.keys(), "all are there again")
        assert {each: pid for each, pid in written().items() if each.startswith("run ")} == {
            f"run {pool}": pid for pool, pid in pids.items()
        }
        keeper.say(do=[marked(request("later", "sleep", "1000"))])
        keeper.until(lambda: "run later" in written(), "one more is written down")
        os.kill(pids["web"], signal.SIGKILL)
        keeper.until(lambda: "run web" not in written(), "and one less")


@NEEDS_ROOT
def test_whoever_waits_at_a_socket_is_served_and_who_listens_hears_each_line_once() -> None:
    """Sockets stay open, private ones keep their names, feeds go on behind the last line."""
    with alone(cgroups=False) as keeper:
        household(keeper)
        keeper.say(
            do=[
                marked(
                    request("hears", "sh", "-c", READER, stdout=log(keeper, "hears"), listens=True)
                )
            ]
        )
        keeper.say(listeners=[["pager", 1, "pager"], ["hears", 1, "hears"]])
        for part in range(5):
            keeper.say(feed=[["hears", 1, f"line {part * 400 + n}"] for n in range(400)])
            refused: list[OSError] = []
            keeper.replace(meanwhile=partial(knock, keeper, refused))
            assert refused == []
        with (keeper.folder / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert stat.S_ISSOCK(os.stat(keeper.folder / "w/own/p").st_mode)
        path = keeper.folder / "hears.log"
        keeper.until(lambda: path.exists() and path.read_text().count("\n") >= 2000, "all is heard")
        assert path.read_text().splitlines() == [f"{n + 1} line {n}" for n in range(2000)]


def test_a_lock_that_is_deleted_while_the_keeper_is_replaced_is_made_again() -> None:
    """The new keeper looks before it sleeps, and hears of the next time."""
    with alone(cgroups=False) as keeper:
        lock = keeper.folder / "lock"
        lock.unlink()
        keeper.replace()
        for _ in range(2):
            keeper.until(partial(is_locked, lock), "the lock is held")
            lock.unlink()
        keeper.until(lambda: len(keeper.lines("place.restored")) == 3, "it is said each time")


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the lock of a file; without trying to take it."""
    if not path.exists():
        return False
    inode = f":{path.stat().st_ino} "
    return any(
        "FLOCK" in line and inode in line
        for line in Path("/proc/locks").read_text().splitlines(True)
    )


def knock(keeper: AloneKeeper, refused: list[OSError]) -> None:
    for name in ("web", "control", "http", "systemd"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
            try:
                client.connect(f"{keeper.folder}/{name}")
            except BlockingIOError:
                continue  # its queue is full: nobody takes them out
            except OSError as error:
                refused.append(error)


class Strike:
    """A SIGTERM at some time."""

    def __init__(self, keeper: AloneKeeper, at_s: float) -> None:
        self._keeper = keeper
        self._at_s = at_s
        self.is_sent = False

    def look(self) -> bool:
        """Send it when it is time; return whether it was sent."""
        if not self.is_sent and time.monotonic() >= self._at_s:
            os.kill(self._keeper.pid, signal.SIGTERM)
            self.is_sent = True
        return self.is_sent


def test_a_sigterm_is_told_whenever_it_comes() -> None:
    """Before, in the window, or behind it: the supervisor of the day hears of it."""
    rng = seeded()
    with alone(cgroups=False) as keeper:
        for number in range(1, 7):
            strike = Strike(keeper, time.monotonic() + rng.random() * 0.15)
            keeper.replace(meanwhile=strike.look)
            keeper.until(strike.look, "it was sent")
            keeper.until(partial(was_signalled, keeper, number), "it is told")


def was_signalled(keeper: AloneKeeper, times: int) -> bool:
    return count(keeper, "signalled", "") == times


@pytest.mark.parametrize("held", ["setup", "gate", "warming"])
def test_what_is_under_way_goes_on(held: str) -> None:
    """A stage of set-up that takes long, a fork that is asked for, a start that waits for both."""
    with alone(cgroups=False) as keeper:
        slow = keeper.folder / "slow"
        slow.write_text("something")
        slow.chmod(0o600)
        secret: dict[str, Any] = {
            "secrets": [["A", "file", str(slow)]],
            "secrets_as": "environment",
        }
        server = a_server(keeper.folder, "waits") if held == "warming" else a_server(keeper.folder)
        (keeper.folder / "waits.py").write_text(f"open({str(slow)!r}).read()\n")
        ask = forked("late", "rest", server)
        if held == "setup":
            ask = marked(request("late", "sleep", "1000", folder=None, **secret))
        with unanswering(slow) as is_waiting:
            if held == "gate":
                keeper.say(do=[{"do": "build", "server": server}])
                keeper.until(lambda: any("servers" in note for note in keeper.notes), "it is ready")
                os.kill(keeper.server_pid("1"), signal.SIGSTOP)
            keeper.say(do=[ask])
            keeper.until(lambda: held == "gate" or is_waiting(), "somebody waits")
            keeper.replace()
            keeper.replace()
            assert not facts_of(keeper, "late")
            (run,) = keeper.handovers[-1]["inventory"]
            assert (run["pool"], run["pid"] is None) == ("late", held != "setup")
        if held == "gate":
            os.kill(keeper.server_pid("1"), signal.SIGCONT)
        keeper.until(lambda: count(keeper, "spawned", "late") == 1, "it has started")
        keeper.say(do=[{"do": "kill", "pool": "late", "index": 1, "run": 1}])
        keeper.until(lambda: is_gone(keeper, "late"), "it has ended")


@NEEDS_ROOT
def test_code_that_cannot_be_had_changes_nothing() -> None:
    """No such file, no program, no memory for it: the keeper goes on, and so do its runs."""
    with alone(cgroups=False) as keeper:
        household(keeper)
        keeper.replace()
        before = descriptors(keeper.pid)
        keeper.replace(f"{keeper.folder}/nothing.py")
        after = descriptors(keeper.pid)
        line = line_of(keeper, "upgrade.failed")
        assert "No such file or directory" in line["reason"]
        changed = {number for number in before | after if before.get(number) != after.get(number)}
        assert {after[number][0].partition(":")[0] for number in changed} <= {"socket"}
        assert len(before) == len(after)
        assert len(keeper.lines("keeper.replaced")) == 1


def line_of(keeper: AloneKeeper, event: str) -> dict[str, Any]:
    """Return the daemon's one line of an event, when the scribe has copied it."""
    keeper.until(lambda: keeper.lines(event), f"{event} is told")
    (line,) = keeper.lines(event)
    return line


#: Code that cannot go on with a state: before `main` is called -> what is said of it.
SPOILERS = {
    "from supervisord_lite.keeper import succession\nsuccession.SUCCESSION = 99":
        "SuccessionError: the state of the keeper is of form 1, not 99",
    "sys.modules['supervisord_lite.keeper.entrance'] = None":
        "ModuleNotFoundError: ",
}  # fmt: skip


def spoilt(folder: Path, spoiler: str) -> Path:
    """Return code that cannot go on with any state."""
    text = Path(HERE).read_text()
    for before, after in (
        ("CHECKOUT = Path(__file__).absolute().parents[2]", f"CHECKOUT = Path({str(CHECKOUT)!r})"),
        ("def _main() -> int:\n", f"{spoiler}\n\n\ndef _main() -> int:\n"),
    ):
        assert before in text
        text = text.replace(before, after)
    path = folder / "spoilt.py"
    path.write_text(text)
    return path


@NEEDS_ROOT
@pytest.mark.parametrize("spoiler", SPOILERS, ids=["another form", "an import"])
def test_code_that_cannot_go_on_with_the_state_makes_way_for_the_one_before(spoiler: str) -> None:
    """With the same state: pids, sockets and facts are as before, and it is told why."""
    with alone(cgroups=False) as keeper:
        household(keeper)
        pids = {f["pool"]: f["pid"] for f in keeper.facts.values() if f["fact"] == "spawned"}
        before = descriptors(keeper.pid)
        keeper.replace(str(spoilt(keeper.folder, spoiler)))
        line = line_of(keeper, "keeper.not_replaced")
        assert SPOILERS[spoiler] in line["reason"]
        assert keeper.lines("keeper.replaced") == []
        assert SPOILERS[spoiler] in keeper.handovers[-1]["fell_back"]
        after = descriptors(keeper.pid)
        assert len(before) == len(after), (before, after)
        assert all(is_closed for _, is_closed in after.values())
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        keeper.until(lambda: count(keeper, "exited", "") == len(pids), "all ends are told")
        refused: list[OSError] = []
        knock(keeper, refused)
        assert refused == []


def test_there_is_one_way_back_and_no_more() -> None:
    """What the code before cannot go on with either ends the daemon, and says why."""
    folder = leftovers.short_folder()
    code = spoilt(folder, next(iter(SPOILERS)))
    former = {"interpreter": sys.executable, "resident": str(code)}
    state = {"succession": 1, "former": former, "descriptors": []}
    memory = memory_file(json.dumps(state).encode())
    argv = [sys.executable, "-I", "-S", str(code), "keeper", str(memory)]
    done = subprocess.run(argv, pass_fds=[memory], capture_output=True, text=True, timeout=30)
    os.close(memory)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("is of form 1, not 99")


def test_systemd_hears_of_the_daemon_before_and_behind_the_change() -> None:
    """The watchdog is fed by the same main process, on its way and when its supervisor answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")
        systemd.setblocking(False)
        systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        name = "@" + systemd.getsockname()[1:].decode()
        more = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "600000000"}
        with alone(cgroups=False, environment=more) as keeper:
            fed(keeper, systemd)
            keeper.replace()
            fed(keeper, systemd)
            fed(keeper, systemd)


def fed(keeper: AloneKeeper, systemd: socket.socket) -> None:
    """Turn until systemd has heard one word more, from the main process."""

    def hear() -> bool:
        try:
            data, ancillary, _, _ = systemd.recvmsg(100, 100)
        except BlockingIOError:
            return False
        ((_, _, credentials),) = ancillary
        assert (data, struct.unpack("3i", credentials)[0]) == (b"WATCHDOG=1", keeper.pid)
        return True

    keeper.until(hear, "the watchdog is fed")


def refuse(*_arguments: object) -> None:
    raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))


@pytest.mark.parametrize("kind", ["open", "memfd_create", "write", "set_inheritable", "execve"])
def test_a_call_that_is_refused_on_the_way_is_undone(kind: str) -> None:
    """No descriptor is open, or open across exec, that was not before, and signals come again."""
    calls = SeamCalls()
    replace_calls(calls, execve=refuse)
    with as_subreaper():
        whole = WholeKeeper(calls)
        try:
            whole.until(lambda: "supervisor" in calls.peers, "there is a supervisor")
            whole.say(do=[marked(request("web", "sleep", "100"))])
            pid = whole.fact("web", "spawned")["pid"]
            end_both(whole)
            before = descriptors(os.getpid())
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            if kind != "execve":
                later = 5 if kind == "set_inheritable" else 1
                calls.fail = (kind, calls.counts[kind] + later, errno.EMFILE)
            reason = whole.keeper._succeed(sys.executable, HERE)
            calls.fail = None
            refused = errno.E2BIG if kind == "execve" else errno.EMFILE
            assert reason.startswith(os.strerror(refused))
            assert descriptors(os.getpid()) == before
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
            os.kill(pid, signal.SIGKILL)
            assert whole.fact("web", "exited")["signal"] == signal.SIGKILL
        finally:
            whole.close()


def end_both(whole: WholeKeeper) -> None:
    """Let supervisor and scribe end, and let nobody start them."""
    own = (whole.keeper._supervisor, whole.keeper._scribe)
    for child in own:
        child.kill()

    def are_gone() -> bool:
        whole.keeper._reap(whole.now_s)
        return not any(child.pid for child in own)

    wait_until(are_gone, what="both have ended", every_s=0.002)
