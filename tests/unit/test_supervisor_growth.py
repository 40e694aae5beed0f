"""What a daemon remembers does not grow with every name that its file ever had."""

from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from supervisord_lite.core.states import Starting
from supervisord_lite.keeper.scribe_side import ScribeSide
from supervisord_lite.supervisor.deadlines import Deadlines
from supervisord_lite.supervisor.gone import MOST_SLOTS
from supervisord_lite.supervisor.logs import Logs
from supervisord_lite.supervisor.orders import Order, Orders, Outcome
from supervisord_lite.supervisor.outbox import Slot
from tests.support.supervisor import Daemon, a_spec

NAMES = 300


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon(a_spec("web"))
    daemon.settle()
    yield daemon
    daemon.close()


def entries(root: object) -> int:
    """Return how many entries all containers have that *root* leads to."""
    seen: set[int] = set()
    count, todo = 0, deque([root])
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, str | bytes | int | float | type | None):
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            count += len(each)
            todo += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set | frozenset | deque):
            count += len(each)
            todo += each
        elif type(each).__module__.startswith("supervisord_lite."):
            slots = [name for kind in type(each).__mro__ for name in getattr(kind, "__slots__", ())]
            todo += [getattr(each, name, None) for name in slots]
            todo.append(getattr(each, "__dict__", None))
    return count


def take_out(daemon: Daemon, *pools: str) -> None:
    """Let the file have nothing but `web`, and whoever leaves end."""
    daemon.reload(a_spec("web"))
    daemon.settle()
    for run in [run for run in daemon.keeper.live() if run.key[0] in pools]:
        daemon.keeper.end(run, 0)
    daemon.settle()
    assert list(daemon.workers) == [("web", 1)]


def visit(daemon: Daemon, pool: str) -> None:
    """Put a pool in, and out again."""
    daemon.reload(a_spec("web"), a_spec(pool))
    daemon.settle()
    assert isinstance(daemon.workers[pool, 1].state, Starting)
    take_out(daemon, pool)


def test_names_that_came_and_went_leave_a_bounded_trace(daemon: Daemon) -> None:
    """Neither in the supervisor, nor in the keeper's table, nor in what is saved."""

    def sizes() -> tuple[int, int, int]:
        table = daemon.keeper.table
        return entries(daemon.supervisor), len(table.saves), len(table._latest)

    for number in range(MOST_SLOTS):
        visit(daemon, f"job-{number}")
    daemon.replace()
    daemon.settle()
    full = sizes()
    for number in range(NAMES):
        visit(daemon, f"other-{number}")
    assert len(daemon.keeper.table.saves) <= full[1] + 1  # the number that stands for the oldest
    assert len(daemon.keeper.table._latest) <= full[2]
    assert entries(daemon.supervisor) <= full[0] + 300
    daemon.replace()
    daemon.settle()
    assert entries(daemon.supervisor) <= full[0] + 300


@pytest.mark.parametrize("others", [1, MOST_SLOTS + 10])
def test_no_number_is_used_twice_however_many_came_between(daemon: Daemon, others: int) -> None:
    """Also when supervisors die between; whoever comes back goes on counting."""
    for _ in range(3):
        visit(daemon, "job")
    for number in range(others):
        visit(daemon, f"other-{number}")
        if number % 50 == 0:
            daemon.replace()
    daemon.replace()
    visit(daemon, "job")
    runs = [key for key in daemon.keeper.started if key[0] == "job"]
    assert runs == [("job", 1, run) for run in (1, 2, 3, 4)]
    assert len(set(daemon.keeper.started)) == len(daemon.keeper.started)


@pytest.mark.parametrize("left", range(1, 6))
def test_a_death_while_the_oldest_is_forgotten_loses_no_number(daemon: Daemon, left: int) -> None:
    """The number that stands for it is saved first."""
    for _ in range(3):
        visit(daemon, "job")
    for number in range(MOST_SLOTS - 1):
        visit(daemon, f"other-{number}")
    daemon.reload(a_spec("web"), a_spec("last"))
    daemon.settle()
    daemon.reload(a_spec("web"))
    daemon.settle()
    (run,) = [run for run in daemon.keeper.live() if run.key[0] == "last"]
    daemon.keeper.end(run, 0)
    daemon.turn(dies_after=left)
    daemon.settle()
    visit(daemon, "job")
    visit(daemon, "last")
    assert len(set(daemon.keeper.started)) == len(daemon.keeper.started)
    assert daemon.keeper.started[-2][2] == 4


def test_deadlines_that_were_taken_back_are_forgotten() -> None:
    """A worker that restarts each second under a limit of a day leaves no day of them behind."""
    deadlines: Deadlines[Slot] = Deadlines()
    for number in range(10_000):
        deadlines.put(("web", 1), number + 86_400.0)
        deadlines.put(("job", number % 7), number + 3600.0)
    assert entries(deadlines) < 500
    assert deadlines.next_s() == 9993 + 3600.0
    assert len(deadlines.take_due(1e9)) == 8
    assert deadlines.next_s() is None


def test_orders_that_are_over_leave_nothing(daemon: Daemon) -> None:
    """Decided, forgotten, or given up."""
    orders = Orders(lambda _slot: "")
    worker = daemon.workers["web", 1]
    told: list[Outcome] = []
    for number in range(3):
        orders.add(
            Order(("web", 1), "ready", worker.run, lambda _order, came: told.append(came)), worker
        )
        (waiting,) = orders._waiting.values()
        if number == 0:
            orders.forget(list(waiting))
        else:
            orders.give_up(("web", 1), worker, Outcome("failed", ok=False))
        assert orders._waiting == {}
    orders.deliver()
    assert len(told) == 2


def test_logs_of_which_nobody_speaks_any_more_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest first; one that is told again is young."""
    monkeypatch.setattr("supervisord_lite.supervisor.logs.MOST_LOGS", 10)
    logs = Logs({"/kept": [1, 1]}, {})
    for number in range(100):
        path = f"/log/{number}"
        logs.take({"dropped": {path: [5, 1], "/kept": [number, 1]}, "trouble": {path: "full"}})
    assert logs.output("/kept", "/kept")["dropped_bytes"] == 99
    assert logs.output("/log/99", "null") == {
        "stdout": "/log/99", "stderr": "null", "dropped_bytes": 5, "trouble": "full"
    }  # fmt: skip
    assert logs.output("/log/1", "null")["dropped_bytes"] == 0
    assert entries(logs) < 50


def test_the_keeper_forgets_logs_of_which_nobody_speaks_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same table, in the process that never ends."""
    monkeypatch.setattr("supervisord_lite.keeper.scribe_side.MOST_LOGS", 10)
    nothing: Any = SimpleNamespace(calls=None, write=lambda *_, **__: None)
    told: list[dict[str, Any]] = []
    side = ScribeSide(nothing, nothing, nothing, nothing, told.append)
    for number in range(100):
        path = f"/log/{number}"
        side._hear({"said": "dropped", "path": path, "bytes": 5, "lines": 1})
        side._hear({"said": "dropped", "path": "/kept", "bytes": number, "lines": 1})
        side._hear({"said": "trouble", "path": path, "reason": "full"})
    assert len(told) == 300
    assert len(side.dropped) == len(side.troubles) == 10
    assert side.dropped["/kept"] == [99, 1]
