"""A keeper that is replaced again and again, with much going on: each thing is told once."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.flood import WRITER, check_lines, has_ended
from tests.support.forkserver import a_server, forked
from tests.support.keeper import marked, request
from tests.support.keeper_alone import AloneKeeper
from tests.support.keeper_told import alone, count, facts_of, is_gone, log, seeded

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
        keeper.until(lambda: len(keeper.lines("keeper.replaced")) == 6, "each time is told")
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
