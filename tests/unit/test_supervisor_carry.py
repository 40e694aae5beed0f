"""What is written for the service after this one, and what it makes of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.cli.carried import carry_over, take_carried
from supervisord_lite.config.spec import Spec, to_json
from supervisord_lite.core import events
from supervisord_lite.core.records import to_record
from supervisord_lite.core.states import Running, Stopped, Tripped, Worker
from supervisord_lite.supervisor.carry import FILE_NAME, VERSION, boot_id
from tests.support.core import a_policy
from tests.support.supervisor import Daemon, a_spec

LIFE = "0123456789abcdef"


@contextmanager
def a_daemon(*specs: Spec) -> Iterator[Daemon]:
    daemon = Daemon(*specs)
    daemon.settle()
    try:
        yield daemon
    finally:
        daemon.close()


def settle(daemon: Daemon) -> None:
    """Let the child say that it has written, and a next one begin."""
    daemon.settle()
    for _ in range(4):
        daemon.supervisor._poller.wait(0)
        daemon.settle()


def fail(daemon: Daemon, pool: str) -> None:
    daemon.pass_s(10.0)
    daemon.settle()
    (run,) = [run for run in daemon.keeper.live() if run.key[0] == pool]
    daemon.keeper.end(run, 3)
    settle(daemon)


def latest(daemon: Daemon) -> dict[str, Any]:
    content = daemon.carried[-1]
    assert content is not None
    return content


# -- what is written -------------------------------------------------------------------------------


def test_a_healthy_daemon_writes_nothing_from_its_begin_to_its_end() -> None:
    """No child, no file: not at the boot, not at an adoption, not at the stop."""
    with a_daemon(a_spec("web", 3)) as daemon:
        daemon.replace()
        daemon.supervisor._daemon.begin_stop("test")
        settle(daemon)
        assert daemon.carried == []


def test_a_breaker_that_opens_is_written_at_once_and_gone_when_it_is_reset() -> None:
    """The file is what the next service would begin with, at any time."""
    with a_daemon(a_spec("web", max_restarts=1), a_spec("db")) as daemon:
        fail(daemon, "web")
        content = latest(daemon)
        assert [each["state"]["is"] for each in content["records"]] == ["tripped"]
        assert list(content["specs"]) == ["web"]
        assert (content["boot_id"], content["sizes"]) == (boot_id(), {})

        daemon.supervisor._fleet.feed(("web", 1), events.ResetRequested())
        settle(daemon)
        assert daemon.carried[-1] is None


def test_a_stop_by_hand_and_a_size_are_written() -> None:
    """What people did holds; what the file says need not be written."""
    with a_daemon(a_spec("web", 2), a_spec("db")) as daemon:
        daemon.supervisor._fleet.feed(("db", 1), events.StopRequested())
        daemon.keeper.end(next(r for r in daemon.keeper.live() if r.key[0] == "db"), 0)
        settle(daemon)
        assert latest(daemon)["records"][0]["state"] == {"is": "stopped", "by_hand": True}

        daemon.supervisor._reloads.sizes.scale({"web": 3})
        settle(daemon)
        assert latest(daemon)["sizes"] == {"web": [3, 2]}
        daemon.supervisor._reloads.sizes.scale({"web": 2})
        settle(daemon)
        assert latest(daemon)["sizes"] == {}


def test_failures_alone_are_written_a_little_later_and_not_each_by_itself() -> None:
    """A fleet in trouble fails all the time, and each writing is a process."""
    with a_daemon(a_spec("web", max_restarts=9)) as daemon:
        (run,) = daemon.keeper.live()
        daemon.keeper.end(run, 3)
        settle(daemon)
        assert daemon.carried == []
        due_s = daemon.supervisor._carry.deadline_s
        assert due_s is not None
        assert due_s <= daemon.clock.s + 5.0

        daemon.clock.s = due_s
        settle(daemon)
        assert len(latest(daemon)["records"][0]["failures"]) == 1


def test_a_stop_takes_the_file_away_and_the_end_waits_for_that() -> None:
    """Also for a successor of the supervisor that had written it."""
    with a_daemon(a_spec("web", max_restarts=1)) as daemon:
        fail(daemon, "web")
        daemon.replace()
        daemon.supervisor._daemon.begin_stop("test")
        assert daemon.supervisor._daemon.is_over(daemon.clock.s)
        assert not daemon.supervisor._is_over(daemon.clock.s)
        settle(daemon)
        assert daemon.carried[-1] is None
        assert daemon.supervisor._is_over(daemon.clock.s)


def test_an_escalation_leaves_nothing() -> None:
    """The breaker of a critical worker opens and the service ends: in one turn."""
    with a_daemon(a_spec("web", critical="any", max_restarts=1)) as daemon:
        fail(daemon, "web")
        assert daemon.supervisor._daemon.verdict == 75
        assert daemon.carried == []


def test_a_pool_that_came_back_does_not_find_what_another_one_left() -> None:
    """A reload writes anew: what it removed is not carried."""
    with a_daemon(a_spec("web", max_restarts=1), a_spec("db")) as daemon:
        fail(daemon, "web")
        daemon.reload(a_spec("db"))
        settle(daemon)
        assert daemon.carried[-1] is None


# -- what is read ----------------------------------------------------------------------------------


def content_of(*workers: Worker, specs: tuple[Spec, ...], **more: Any) -> dict[str, Any]:
    return {
        "v": VERSION, "boot_id": boot_id(), "token": LIFE, "sizes": {},
        "specs": {spec.pool: to_json(spec) for spec in specs},
        "records": [to_record(worker) for worker in workers], **more,
    }  # fmt: skip


def write(folder: Path, content: object) -> str:
    (folder / FILE_NAME).write_text(json.dumps(content))
    return str(folder)


def test_what_the_last_keeper_left_is_taken_once(tmp_path: Path) -> None:
    """A record that kills supervisors is not tried again and again."""
    content = content_of(specs=())
    assert take_carried(str(tmp_path), LIFE) is None
    assert take_carried(write(tmp_path, content), LIFE) == content
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("token", "more"),
    [("", {}), ("another", {}), (LIFE, {"boot_id": "another"}), ("", {"token": ""})],
)
def test_what_is_not_of_the_last_keeper_or_of_another_boot_is_nobody_s(
    tmp_path: Path, token: str, more: dict[str, Any]
) -> None:
    """A child that outlived its keeper wrote it, or the clock began anew."""
    content = content_of(specs=(), **more)
    assert take_carried(write(tmp_path, content), token) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"v": 99}', "\\xff\\xfe"])
def test_a_damaged_file_is_told_and_gone(tmp_path: Path, text: str) -> None:
    """It keeps nobody from starting, and is not told twice."""
    (tmp_path / FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"carry.json|Expecting|codec"):
        take_carried(str(tmp_path), LIFE)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nor is what it points to removed."""
    other = tmp_path / "other"
    other.write_text("{}")
    (tmp_path / FILE_NAME).symlink_to(other)
    with pytest.raises(ValueError, match=r"carry.json"):
        take_carried(str(tmp_path), LIFE)
    assert other.exists()


def test_records_and_sizes_become_what_an_adopted_supervisor_finds() -> None:
    """Open breakers and stops by hand; workers that the file has no place for are left out."""
    web, db = a_spec("web", 2, max_restarts=2), a_spec("db")
    tripped = Worker("web", 2, a_policy(), Tripped(5.0), run=4, failures=(1.0, 5.0))
    stopped = Worker("db", 1, a_policy(), Stopped(by_hand=True), run=2)
    lost = Worker("gone", 1, a_policy(), Tripped(5.0))
    beyond = Worker("db", 2, a_policy(), Tripped(5.0))
    content = content_of(
        tripped, stopped, lost, beyond, specs=(web, db, a_spec("gone")), sizes={"db": [1, 1]}
    )

    carried = carry_over(content, (web, db))

    assert carried.specs == [web, db]
    assert set(carried.saves) == {"worker/web/2", "worker/db/1", "restored"}
    assert json.loads(carried.saves["restored"]) == {"tripped": 1, "stopped": 1, "scaled": 0}
    record = json.loads(carried.saves["worker/web/2"])
    assert (record["worker"]["run"], record["worker"]["failures"]) == (0, [1.0, 5.0])


def test_a_size_by_hand_holds_unless_the_file_has_another_one_now() -> None:
    """As at a reload; and the instances above it come with it."""
    stopped = Worker("web", 3, a_policy(), Stopped(by_hand=True))
    content = content_of(stopped, specs=(a_spec("web", 3),), sizes={"web": [3, 1]})

    carried = carry_over(content, (a_spec("web"),))
    assert [spec.pool_size for spec in carried.specs] == [3]
    assert set(carried.saves) == {"worker/web/3", "by_hand", "restored"}
    assert json.loads(carried.saves["by_hand"])["web"][:2] == [3, 1]

    carried = carry_over(content, (a_spec("web", 2),))
    assert [spec.pool_size for spec in carried.specs] == [2]
    assert carried.saves == {}


def test_another_program_begins_with_its_breaker_closed() -> None:
    """The file was mended while the service was down: what had failed is not there any more."""
    tripped = Worker("web", 1, a_policy(), Tripped(5.0), failures=(5.0,))
    content = content_of(tripped, specs=(a_spec("web"),))
    assert "worker/web/1" in carry_over(content, (a_spec("web"),)).saves
    mended = a_spec("web", launch={"argv": ("other",)})
    assert carry_over(content, (mended,)).saves == {}


def test_what_lived_is_started_and_its_failures_count() -> None:
    """A supervisor that finds it starts it like everything at a boot."""
    spec = a_spec("web", max_restarts=2)
    lived = Worker("web", 1, spec.policy, Running(4, 77, 1.0, 2.0), run=4, failures=(99.0,))
    saves = carry_over(content_of(lived, specs=(spec,)), (spec,)).saves
    daemon = Daemon(spec, saves=saves)
    try:
        daemon.settle()
        (run,) = daemon.keeper.live()
        assert run.key == ("web", 1, 1)
        daemon.keeper.end(run, 3)
        daemon.settle()
        assert isinstance(daemon.workers["web", 1].state, Tripped)
    finally:
        daemon.close()
