"""`supervisord_lite.testing`, as people use it: a project of theirs with tests of its own."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from supervisord_lite.testing import Daemon, DaemonError, run_worker
from supervisord_lite.worker import Context, Worker, context
from supervisord_lite.worker.target import TargetError
from tests.support import leftovers
from tests.support.daemon import CHECKOUT, clean_environment
from tests.support.leftovers import is_alive
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

CONSUMER = '''
"""Orders to the warehouse, one process per shard."""

from dataclasses import dataclass, field

from supervisord_lite.worker import Worker, context


@dataclass
class OrderConsumer(Worker):
    """Take the orders of one shard."""

    source: object
    batch: int = 20
    shards: int = 4
    sent: list[str] = field(default_factory=list)

    def run(self) -> None:
        for turn in context.loop(every_s=0.01):
            orders = self.take(shard=context.instance - 1)
            for number, order in enumerate(orders, start=1):
                self.send(order)
                context.progress(number, len(orders))
            context.status(f"{len(self.sent)} sent")

    def take(self, shard: int) -> list[str]:
        if isinstance(self.source, str):
            return []
        mine = [o for o in self.source if int(o) % self.shards == shard][: self.batch]
        for order in mine:
            self.source.remove(order)
        return mine

    def send(self, order: str) -> None:
        if order.startswith("-"):
            raise ValueError(f"order {order}: negative number")
        self.sent.append(order)
'''
RANK = '''
"""Rank carts by a model."""

from supervisord_lite.worker import Context

from shopq.model import MODEL


def rank(context: Context, *, top: int = 3, jobs: list | None = None) -> None:
    while not context.stopping.is_set():
        context.heartbeat()
        if not jobs:
            context.sleep(0.01)
            continue
        cart = jobs.pop()
        cart["best"] = sorted(cart["items"], key=MODEL.get, reverse=True)[:top]
'''
MODEL = 'MODEL = {"tea": 3, "cup": 2, "pot": 9, "mat": 1}\n'
TEST_WORKERS = """
import pytest
from supervisord_lite.testing import run_worker

from shopq.consumer import OrderConsumer
from shopq.rank import rank


def test_takes_only_its_own_shard_and_beats():
    queue = [str(n) for n in range(40)]
    with run_worker(OrderConsumer, name="orders-2", instance=2, source=queue) as w:
        w.wait(lambda c: c.heartbeats >= 2)
    assert w.worker.sent == ["1", "5", "9", "13", "17", "21", "25", "29", "33", "37"]
    assert w.context.status_text == "10 sent"


def test_stop_finishes_what_it_holds():
    queue = [str(n) for n in range(0, 400, 4)]
    with run_worker(OrderConsumer, instance=1, source=queue, batch=50) as w:
        w.wait(lambda c: c.done >= 1)
        w.stop()
    assert len(w.worker.sent) % 50 == 0


def test_a_bad_order_is_a_crash_with_its_own_words():
    with pytest.raises(ValueError, match="order -4: negative"):
        with run_worker(OrderConsumer, source=["-4"], shards=1) as w:
            w.wait(lambda c: c.heartbeats >= 9)


def test_rank_uses_the_shared_model():
    job = {"items": ["tea", "cup", "pot"]}
    with run_worker(rank, top=1, jobs=[job]) as w:
        w.wait(lambda c: "best" in job)
    assert job["best"] == ["pot"]
"""
TEST_DEPLOYMENT = """
import pathlib

from supervisord_lite.testing import Daemon


def test_the_file_we_ship_starts(tmp_path):
    with Daemon(
        pathlib.Path("workers.toml"), folder=tmp_path, env={"SHOP_SOURCE": "memory:"}
    ) as daemon:
        daemon.wait("orders", "ready", timeout_s=10)
        daemon.kill("orders-2")
        assert daemon.wait("orders-2", "ready").restarts == 1
"""
WORKERS = """
[worker.orders]
python = "shopq.consumer:OrderConsumer"
pool_size = 4
config.source = "${SHOP_SOURCE:-redis://localhost/0}"
config.batch = 50
heartbeat_timeout = "30s"
stop_timeout = "20s"

[worker.rank]
python = "shopq.rank:rank"
pool_size = 8
config.top = 5
preload = ["shopq.model"]
recycle.memory = "300M"
requires = ["orders"]

[defaults]
interpreter = "${VIRTUAL_ENV:-/srv/shopq/.venv}/bin/python"
"""


def project(folder: Path) -> Path:
    """Write somebody's project, with the tests of its workers."""
    (folder / "shopq").mkdir()
    for name, text in {
        "shopq/__init__.py": "", "shopq/consumer.py": CONSUMER, "shopq/rank.py": RANK,
        "shopq/model.py": MODEL, "test_workers.py": TEST_WORKERS,
        "test_deployment.py": TEST_DEPLOYMENT, "workers.toml": WORKERS,
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    return folder


def test_the_tests_of_a_project_pass(tmp_path: Path) -> None:
    """Those of its workers, which know no daemon, and that of its deployment, which has one."""
    folder = project(tmp_path)
    environment = clean_environment({"PYTHONPATH": str(CHECKOUT), "VIRTUAL_ENV": sys.prefix})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error",
         "--rootdir", str(folder), "--basetemp", str(leftovers.short_folder() / "t")],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


# One worker in the test.


class Threaded:
    """Has a thread of its own, which sees its own context."""

    def __init__(self, seen: list[str], crash: str = "") -> None:
        self.seen, self.crash = seen, crash
        self.must_stop = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self.loop).start()

    def stop(self) -> None:
        self.seen.append(f"stop {context.name}")
        self.must_stop.set()

    def loop(self) -> None:
        self.seen.append(context.name)
        if self.crash:
            raise LookupError(self.crash)
        self.must_stop.wait()


def waits(*, name: str = "") -> None:
    """Look whether it must stop."""
    context.status(name or context.name)
    context.stopping.wait()


async def awaits() -> None:
    """Never look."""
    import asyncio

    await asyncio.Event().wait()


def test_two_workers_live_in_one_test() -> None:
    """Each with its own context, also in the threads that they start."""
    one: list[str] = []
    two: list[str] = []
    with run_worker(Threaded, name="one", seen=one) as w, run_worker(
        Threaded, name="two", seen=two
    ) as v, run_worker(waits, name="three-3", instance=3) as u:  # fmt: skip
        w.wait(lambda _: one)
        v.wait(lambda _: two)
        u.wait(lambda c: c.status_text == "three-3")
        assert u.context.pool == "three"
        w.stop()
        assert w.is_over
        assert not v.is_over
    assert (one, two) == (["one", "stop one"], ["two", "stop two"])
    assert threading.Thread.start.__module__ == "threading"


def test_a_crash_of_its_thread_is_a_crash_of_the_worker() -> None:
    """As the process would end."""
    with pytest.raises(LookupError, match="dead"), run_worker(
        Threaded, seen=[], crash="dead"
    ) as w:  # fmt: skip
        w.wait(lambda _: False)
    assert isinstance(w.error, LookupError)


def test_a_crash_at_the_end_is_raised_too() -> None:
    """Nobody need ask."""

    def late(context: Context) -> None:
        context.stopping.wait()
        raise OSError("not flushed")  # noqa: TRY003

    with pytest.raises(OSError, match="not flushed"), run_worker(late):
        pass


def test_arguments_are_judged_as_by_the_daemon() -> None:
    """With what was probably meant."""
    with pytest.raises(TargetError, match='did you mean "name"'), run_worker(waits, nam=1):
        pass


def test_a_coroutine_is_cancelled_and_a_busy_target_interrupted() -> None:
    """Who never looks is ended by the signal; that is no error."""

    def busy() -> None:
        while True:
            threading.Event().wait(0.001)

    for target in (awaits, busy):
        with run_worker(target) as w:
            pass
        assert w.error is None


def test_a_stop_that_takes_too_long_fails() -> None:
    """And says where the worker is."""
    over = threading.Event()

    def deaf(context: Context) -> None:
        context.stopping.is_set()
        over.wait()

    with run_worker(deaf) as w:
        with pytest.raises(AssertionError, match=r"(?s)did not stop within 0.1 s.*over.wait"):
            w.stop(timeout_s=0.1)
        over.set()


def test_a_worker_that_ends_before_says_so() -> None:
    """Its own exit code is an error, if it is one."""

    def leaves(*, code: int) -> None:
        sys.exit(code)

    with run_worker(leaves, code=0) as w, pytest.raises(AssertionError, match="ended before"):
        w.wait(lambda c: c.heartbeats)
    with pytest.raises(SystemExit), run_worker(leaves, code=3) as w:
        w.wait(lambda c: c.heartbeats)


def test_a_name_of_the_class_is_ignored_with_a_warning() -> None:
    """The same class may serve several workers."""
    with pytest.warns(UserWarning, match=r"Named.name = 'orders' is ignored"):

        class Named(Worker):
            name = "orders"

            def run(self) -> None:
                context.status(str(self.name))

    with run_worker(Named, name="mail") as w:
        w.wait(lambda c: c.status_text == "mail")


# The real daemon.


def test_a_file_with_errors_raises_what_check_says(tmp_path: Path) -> None:
    """Before anything is started."""
    file = tmp_path / "workers.toml"
    file.write_text('[worker.web]\ncommand = "x"\nrestrt = "always"\n')
    with pytest.raises(DaemonError, match=r"(?s)workers.toml:3:1: error: .*did you mean"), Daemon(
        file, folder=tmp_path / "run"
    ):  # fmt: skip
        pass


def test_what_does_not_come_is_told_with_its_words(tmp_path: Path) -> None:
    """The reason, and what stands in its log; nothing is left at the end."""
    file = tmp_path / "workers.toml"
    file.write_text(
        '[worker.web]\ncommand = ["sh", "-c", "echo no disk; exit 3"]\nmax_restarts = 1\n'
        '[worker.ok]\ncommand = "sleep 1000"\nready = "spawned"\n'
    )
    folder = leftovers.short_folder()
    with Daemon(file, folder=folder) as daemon:
        pid = daemon.wait("ok", "running").pid
        with pytest.raises(DaemonError, match=r"(?s)web: tripped, after exit 3.*no disk"):
            daemon.wait("web", "ready")
        with pytest.raises(DaemonError, match="no such worker"):
            daemon.status("wbe")
        with pytest.raises(DaemonError, match="has no process"):
            daemon.kill("web")
        assert daemon.wait("web", "tripped").last_exit.code == 3
    wait_until(lambda: not is_alive(pid), what="nothing is left")
    assert not os.path.exists(daemon.control_path)


def test_a_long_folder_is_no_obstacle(tmp_path: Path) -> None:
    """The path of a socket has an end."""
    file = tmp_path / "workers.toml"
    file.write_text('[worker.web]\ncommand = "sleep 1000"\nready = "spawned"\n')
    with Daemon(file, folder=tmp_path / ("x" * 90)) as daemon:
        daemon.wait("web", "ready")
        assert len(daemon.control_path) < 100


def test_one_folder_is_for_one_daemon_at_a_time(tmp_path: Path) -> None:
    """A second one says so, and the first one goes on; when that has ended, another may begin."""
    file = tmp_path / "workers.toml"
    file.write_text('[worker.web]\ncommand = "sleep 1000"\nready = "spawned"\n')
    folder = leftovers.short_folder()
    with Daemon(file, folder=folder) as daemon:
        before = daemon.wait("web", "ready").pid
        with pytest.raises(DaemonError, match="another Daemon runs in"), Daemon(
            file, folder=folder
        ):  # fmt: skip
            pass
        assert daemon.status("web").pid == before
    with Daemon(file, folder=folder) as daemon:
        assert daemon.wait("web", "ready").pid != before
