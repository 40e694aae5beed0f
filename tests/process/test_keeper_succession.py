"""A keeper that is replaced by other code in its place: nothing is lost, doubled or left open."""

import errno
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.cgroups import own as own_cgroup
from tests.support.flood import WRITER, check_lines, has_ended
from tests.support.forkserver import a_server, forked, with_targets
from tests.support.keeper import as_subreaper, below, marked, replace_calls, request
from tests.support.keeper_alone import CHECKOUT, HERE, AloneKeeper
from tests.support.keeper_whole import SeamCalls, WholeKeeper
from tests.support.slow import unanswering
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

SLEEPERS = 1000
#: Says that it is ready and why it ends, and ends with a code; all of its run.
SPEAKER = """
import json, os, socket, sys
run = int(sys.argv[1])
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
own.connect(os.environ["NOTIFY_SOCKET"])
own.send(b"READY=1\\nSTATUS=in run %d" % run)
own.send(b"X_SUPERVISORD_LITE_END=" + json.dumps({"words": f"run {run}"}).encode())
os._exit(run % 100 + 1)
"""
#: Reads its stdin, and counts the lines.
READER = "n=0; while read -r line; do n=$((n+1)); echo $n $line; done"


def seeded() -> random.Random:
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    return random.Random(seed)


@contextmanager
def alone(*, cgroups: bool) -> Iterator[AloneKeeper]:
    if cgroups and own_cgroup() is None:
        pytest.skip("needs a writable cgroup v2")
    folder = leftovers.short_folder()
    (folder / "w").mkdir()
    keeper = AloneKeeper(with_targets(folder), cgroups=cgroups)
    try:
        keeper.begin()
        yield keeper
    finally:
        left = below(keeper.pid)
        status = keeper.close()
        leftovers.kill(left)
    assert status == 0, keeper.output()


def log(keeper: AloneKeeper, name: str) -> dict[str, Any]:
    return {
        "to": "log",
        "stream": {"path": f"{keeper.folder}/{name}.log", "max_size": 1 << 18, "backups": 1000},
    }


def speaker(keeper: AloneKeeper, name: str, run: int) -> dict[str, Any]:
    folder = f"{keeper.folder}/w/{name}.{run}"
    ask = request(
        name, sys.executable, "-I", "-S", f"{keeper.folder}/speaker.py", str(run), run=run,
        notify=folder, environment=[("NOTIFY_SOCKET", f"{folder}/notify")],
    )  # fmt: skip
    return marked(ask)


def code_of(run: int) -> int:
    return run % 100 + 1


class Restarts:
    """Whoever ends is started again, as the supervisor would: a request for each end."""

    def __init__(
        self, keeper: AloneKeeper, ask: dict[str, Callable[[int], dict[str, Any]]]
    ) -> None:
        self._keeper = keeper
        self._ask = ask
        self._waiting: list[dict[str, Any]] = []
        self._emptied: set[tuple[str, int]] = set()
        self.runs = dict.fromkeys(ask, 1)
        self.is_over = False
        keeper.on_fact = self._take

    def begin(self) -> None:
        self._waiting = [ask(1) for ask in self._ask.values()]

    def _take(self, fact: dict[str, Any]) -> None:
        name = fact.get("pool", "")
        is_end = fact["fact"] == "emptied" or fact.get("emptied")
        if name in self._ask and is_end and not self.is_over:
            assert fact["run"] == self.runs[name]
            self.runs[name] += 1
            self._waiting.append(self._ask[name](self.runs[name]))

    def turn(self) -> None:
        """Ask for what is to be started, and let the keeper forget what is over."""
        if self._waiting and self._keeper.has_supervisor:
            waiting, self._waiting = self._waiting, []
            self._keeper.say(applied=max(self._keeper.facts, default=0), do=waiting)


def facts_of(keeper: AloneKeeper, name: str) -> dict[int, list[dict[str, Any]]]:
    """Return the facts of a pool of one, by run, in the order of their numbers."""
    found: dict[int, list[dict[str, Any]]] = {}
    for number in sorted(keeper.facts):
        fact = keeper.facts[number]
        if fact.get("pool") == name:
            found.setdefault(fact["run"], []).append(fact)
    return found


def count(keeper: AloneKeeper, kind: str, prefix: str) -> int:
    return sum(
        fact["fact"] == kind and fact.get("pool", "").startswith(prefix)
        for fact in keeper.facts.values()
    )


class Load:
    """Everything that ends and is started again, and signals to the keeper without end."""

    def __init__(self, keeper: AloneKeeper, rng: random.Random) -> None:
        self._keeper = keeper
        self._rng = rng
        server = a_server(keeper.folder)
        self.restarts = Restarts(
            keeper,
            {
                "says0": partial(speaker, keeper, "says0"),
                "says1": partial(speaker, keeper, "says1"),
                "forks": lambda run: forked("forks", "leave", server, run=run),
                "fails": lambda run: marked(
                    request("fails", "sh", "-c", f"exit {code_of(run)}", run=run)
                ),
            },
        )

    def turn(self) -> None:
        self.restarts.turn()
        number = self._rng.choice((signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2))
        os.kill(self._keeper.pid, number)

    def until(self, predicate: Callable[[], bool], what: str) -> None:
        """Go on until *predicate* holds."""

        def look() -> bool:
            self.turn()
            return predicate()

        self._keeper.until(look, what)

    def settle(self, runs: int) -> None:
        """Go on until each has ended *runs* times."""
        wanted = {name: run + runs for name, run in self.restarts.runs.items()}
        now = self.restarts.runs
        self.until(lambda: all(now[n] >= run for n, run in wanted.items()), f"{runs} ends of each")


@pytest.mark.parametrize(
    ("cgroups", "sleepers"), [(True, SLEEPERS), (False, 200)], ids=["cgroup", "no cgroup"]
)
def test_replaced_under_load_again_and_again_it_loses_nothing(cgroups: bool, sleepers: int) -> None:
    """A thousand children, crashes, forks, words, floods, stops and signals: each told once."""
    rng = seeded()
    with alone(cgroups=cgroups) as keeper:
        (keeper.folder / "writer.py").write_text(WRITER)
        (keeper.folder / "speaker.py").write_text(SPEAKER)
        pids = start_sleepers(keeper, sleepers)
        floods = [f"flood{n}" for n in range(2)]
        keeper.say(do=[flood(keeper, name) for name in floods])
        load = Load(keeper, rng)
        load.restarts.begin()
        load.settle(2)
        pid_of_server = keeper.server_pid("1")
        gaps_s = []
        for place in range(6):
            stubborn = stop_stubborn(keeper, f"stops{place}")
            gaps_s.append(keeper.replace(meanwhile=load.turn))
            load.until(partial(is_gone, keeper, stubborn), "the tree is cleared")
            load.settle(rng.randrange(1, 3))
        sys.stderr.write(f"gaps with {sleepers} children, in s: {sorted(gaps_s)}\n")
        load.restarts.is_over = True
        keeper.until(partial(all_ended, keeper, load.restarts), "the last runs have ended")
        assert len(keeper.lines("keeper.replaced")) == 6
        check_restarts(keeper, load.restarts)
        assert keeper.server_pid("1") == pid_of_server
        check_floods(keeper, floods)
        check_sleepers(keeper, pids)
        assert sorted(keeper.facts) == list(range(1, len(keeper.facts) + 1))


def start_sleepers(keeper: AloneKeeper, number: int) -> dict[str, int]:
    """Start children that only wait; return their pids."""
    names = [f"rests{n}" for n in range(number)]
    for at in range(0, number, 100):
        page = [marked(request(name, "/bin/sleep", "1000")) for name in names[at : at + 100]]
        keeper.say(do=page)
    keeper.until(lambda: count(keeper, "spawned", "rests") == number, "they sleep")
    return {f["pool"]: f["pid"] for f in keeper.facts.values() if f["fact"] == "spawned"}


def check_sleepers(keeper: AloneKeeper, pids: dict[str, int]) -> None:
    """They live on; and when they end, that is told once of each, with its own status."""
    for place, pid in enumerate(pids.values()):
        assert leftovers.is_alive(pid)
        os.kill(pid, signal.SIGKILL if place % 2 else signal.SIGTERM)
    keeper.replace()  # while they end
    keeper.until(lambda: count(keeper, "exited", "rests") == len(pids), "all ends are told")
    ends = [f for f in keeper.facts.values() if f["fact"] == "exited" and f["pool"] in pids]
    told = {fact["pool"]: fact["signal"] for fact in ends}
    assert len(ends) == len(told) == len(pids)
    assert [told[name] for name in pids] == [(15, 9)[n % 2] for n in range(len(pids))]


def flood(keeper: AloneKeeper, name: str) -> dict[str, Any]:
    script = f"{keeper.folder}/writer.py"
    argv = (sys.executable, "-I", "-S", script, name, "50", "0.005")
    return marked(request(name, *argv, stdout=log(keeper, name)))


def check_floods(keeper: AloneKeeper, names: list[str]) -> None:
    about = {"index": 1, "run": 1, "signal": signal.SIGTERM, "scope": "leader", "stop": True}
    keeper.say(do=[{"do": "signal", "pool": name, **about} for name in names])
    for name in names:
        path = keeper.folder / f"{name}.log"
        keeper.until(partial(has_ended, path), "the last words arrived")
        assert check_lines(path, name) > 100


def stop_stubborn(keeper: AloneKeeper, name: str) -> str:
    """Start a tree that does not want to end, and order its end."""
    script = "trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000"
    keeper.say(do=[marked(request(name, "sh", "-c", script))])
    keeper.until(lambda: count(keeper, "spawned", name), "it is there")
    keeper.say(do=[{"do": "kill", "pool": name, "index": 1, "run": 1}])
    return name


def all_ended(keeper: AloneKeeper, restarts: Restarts) -> bool:
    restarts.turn()
    return all(is_gone(keeper, name, run) for name, run in restarts.runs.items())


def is_gone(keeper: AloneKeeper, name: str, run: int = 1) -> bool:
    facts = facts_of(keeper, name).get(run, ())
    return any(fact["fact"] == "emptied" or fact.get("emptied") for fact in facts)


def check_restarts(keeper: AloneKeeper, restarts: Restarts) -> None:
    """Each run was started once and ended once, with the code and the words that are its own."""
    for name, last in restarts.runs.items():
        by_run = facts_of(keeper, name)
        assert sorted(by_run) == list(range(1, last + 1))
        for run, facts in by_run.items():
            says = name.startswith("says")
            expected = ["spawned", *["said"] * says, "exited"]
            kinds = [fact["fact"] for fact in facts]
            assert kinds in (expected, [*expected, "emptied"]), facts
            end = facts[len(expected) - 1]
            assert end["emptied"] == (kinds == expected)
            assert end["code"] == (0 if name == "forks" else code_of(run))
            assert end.get("words") == (f"run {run}" if says else None)


def descriptors(pid: int) -> dict[int, tuple[str, bool]]:
    """Return what a process has open beyond its outputs, and whether that is closed on exec."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{name}")
            said = Path(f"/proc/{pid}/fdinfo/{name}").read_text()
        except OSError:  # the listing's own
            continue
        if int(name) > 2:
            flags = int(said.split("flags:\t")[1].split()[0], 8)
            found[int(name)] = link, bool(flags & 0o2000000)
    return found


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
        assert rss_kib(keeper.pid) < rss_before_kib + 1024


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
        assert stat.S_ISSOCK(os.stat(keeper.folder / "w/own/p").st_mode)
        path = keeper.folder / "hears.log"
        keeper.until(lambda: path.exists() and path.read_text().count("\n") >= 2000, "all is heard")
        assert path.read_text().splitlines() == [f"{n + 1} line {n}" for n in range(2000)]


def knock(keeper: AloneKeeper, refused: list[OSError]) -> None:
    for place in (f"{keeper.folder}/web", f"{keeper.folder}/control"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
            try:
                client.connect(place)
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
        for number in range(1, 11):
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


def test_code_that_cannot_be_had_changes_nothing() -> None:
    """No such file, no program, no memory for it: the keeper goes on, and so do its runs."""
    with alone(cgroups=False) as keeper:
        household(keeper)
        keeper.replace()
        before = descriptors(keeper.pid)
        keeper.replace(f"{keeper.folder}/nothing.py")
        after = descriptors(keeper.pid)
        (line,) = keeper.lines("upgrade.failed")
        assert "No such file or directory" in line["reason"]
        changed = {number for number in before | after if before.get(number) != after.get(number)}
        assert {after[number][0].partition(":")[0] for number in changed} <= {"socket"}
        assert len(before) == len(after)
        assert len(keeper.lines("keeper.replaced")) == 1


def test_code_that_cannot_go_on_with_the_state_makes_way_for_the_one_before() -> None:
    """Once, with the same state: pids, sockets and facts are as before, and a line says why."""
    with alone(cgroups=False) as keeper:
        household(keeper)
        pids = {f["pool"]: f["pid"] for f in keeper.facts.values() if f["fact"] == "spawned"}
        text = Path(HERE).read_text()
        marker = "return main(arguments, _calls())"
        assert marker in text
        broken = keeper.folder / "broken.py"
        checkout = f"CHECKOUT = Path({str(CHECKOUT)!r})"
        text = text.replace("CHECKOUT = Path(__file__).absolute().parents[2]", checkout)
        spoilt = "succession.SUCCESSION = 99\n        " + marker
        text = text.replace(
            marker, "from supervisord_lite.keeper import succession\n        " + spoilt
        )
        broken.write_text(text)
        before = descriptors(keeper.pid)
        keeper.replace(str(broken))
        (line,) = keeper.lines("keeper.not_replaced")
        assert "is of form 1, not 99" in line["reason"]
        assert keeper.lines("keeper.replaced") == []
        assert len(before) == len(descriptors(keeper.pid))
        assert all(is_closed for _, is_closed in descriptors(keeper.pid).values())
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        keeper.until(lambda: count(keeper, "exited", "") == len(pids), "all ends are told")
        knocked: list[OSError] = []
        knock(keeper, knocked)
        assert knocked == []


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
