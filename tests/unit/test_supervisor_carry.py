"""What is written for the service after this one, and what it makes of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.cli.carried import carry_over, count_try, read_carried
from supervisord_lite.config.spec import Spec, to_json
from supervisord_lite.core import events
from supervisord_lite.core.records import to_record
from supervisord_lite.core.states import Running, Stopped, Tripped, Worker
from supervisord_lite.supervisor.carry import FILE_NAME, LIFE, MAY_BE_THERE, VERSION
from tests.support.core import a_policy
from tests.support.supervisor import Daemon, a_spec

CHAIN = "0123456789abcdef"
BOOT = "a-boot"


@contextmanager
def a_daemon(*specs: Spec) -> Iterator[Daemon]:
    daemon = Daemon(*specs)
    daemon.settle()
    try:
        yield daemon
    finally:
        daemon.close()


def settle(daemon: Daemon) -> None:
    """Let the child say that it has written, and a next one begin, half a second later."""
    daemon.settle()
    daemon.pass_s(0.5)
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
        assert content["sizes"] == {}

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


def test_a_size_that_was_not_saved_is_not_written() -> None:
    """First the keeper knows it, and that there may be a file; then the disk."""
    with a_daemon(a_spec("web"), a_spec("db")) as daemon:
        for dies_after in range(3):
            daemon.supervisor._reloads.sizes.scale({"db": 3})
            daemon.turn(dies_after=dies_after)
            assert daemon.carried == []
        daemon.supervisor._reloads.sizes.scale({"db": 3})
        settle(daemon)
        assert latest(daemon)["sizes"] == {"db": [3, 1]}
        assert MAY_BE_THERE in daemon.keeper.table.saves


@pytest.mark.parametrize("disk", ["full", "frozen", "no process"])
def test_what_could_not_be_written_is_written_later(disk: str) -> None:
    """Half a minute after the disk, or the machine, has refused it."""
    with a_daemon(a_spec("web", max_restarts=1), a_spec("db")) as daemon:
        daemon.disk = disk
        fail(daemon, "web")
        before = len(daemon.carried)
        for _ in range(4):
            daemon.pass_s(10.0)
            daemon.supervisor._carry.expire(daemon.clock.s)
            settle(daemon)
        daemon.disk = "good"
        for note in daemon._carrying:
            note.child.close()
        for _ in range(8):
            daemon.pass_s(10.0)
            settle(daemon)
        assert len(daemon.carried) > before
        assert [each["state"]["is"] for each in latest(daemon)["records"]] == ["tripped"]
        assert daemon.supervisor._carry.is_gone is False


@pytest.mark.parametrize(
    ("disk", "is_gone"), [("full", True), ("no process", True), ("frozen", False)]
)
def test_an_end_waits_for_the_disk_but_not_for_one_that_is_broken(disk: str, is_gone: bool) -> None:
    """A file that cannot be removed keeps no service alive."""
    with a_daemon(a_spec("web", max_restarts=1)) as daemon:
        fail(daemon, "web")
        daemon.disk = disk
        daemon.supervisor._daemon.begin_stop("test")
        settle(daemon)
        assert daemon.supervisor._is_over(daemon.clock.s) == is_gone
        daemon.clock.s += 3.0
        daemon.supervisor._carry.expire(daemon.clock.s)
        assert daemon.supervisor._is_over(daemon.clock.s)


def test_a_stop_that_is_under_way_and_a_trial_are_written() -> None:
    """What was ordered counts, not how far it has come."""
    with a_daemon(a_spec("web", max_restarts=1, circuit_cooldown_s=60.0), a_spec("db")) as daemon:
        daemon.supervisor._fleet.feed(("db", 1), events.StopRequested())
        settle(daemon)
        assert latest(daemon)["records"][0]["state"]["is"] == "stopping"
        fail(daemon, "web")
        daemon.pass_s(61.0)
        settle(daemon)
        states = {each["pool"]: each["state"]["is"] for each in latest(daemon)["records"]}
        assert states == {"web": "tripped", "db": "stopping"}


def test_what_was_taken_over_counts_its_tries_until_the_service_has_lived_a_while() -> None:
    """Nothing is written for that alone before."""
    life = {"token": CHAIN, "boot_id": BOOT, "tries": 2}
    saves = {LIFE: json.dumps(life), MAY_BE_THERE: "1"}
    daemon = Daemon(a_spec("web", max_restarts=1), a_spec("db"), saves=saves)
    try:
        daemon.settle()
        assert daemon.carried == []
        fail(daemon, "web")
        assert (latest(daemon)["tries"], latest(daemon)["token"]) == (2, CHAIN)
        daemon.pass_s(30.0)
        settle(daemon)
        assert latest(daemon)["tries"] == 0
    finally:
        daemon.close()


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
        "v": VERSION, "boot_id": BOOT, "token": CHAIN, "tries": 0, "sizes": {},
        "specs": {spec.pool: to_json(spec) for spec in specs},
        "records": [to_record(worker) for worker in workers], **more,
    }  # fmt: skip


def write(folder: Path, content: object) -> str:
    (folder / FILE_NAME).write_text(json.dumps(content))
    return str(folder)


def test_what_the_last_keeper_left_stays_until_something_else_is_in_force(tmp_path: Path) -> None:
    """A start that is killed at any moment can be made again."""
    content = content_of(specs=())
    assert read_carried(str(tmp_path), CHAIN, BOOT) is None
    folder = write(tmp_path, content)
    assert read_carried(folder, CHAIN, BOOT) == content
    assert read_carried(folder, CHAIN, BOOT) == content


def test_what_kills_supervisors_is_tried_a_few_times(tmp_path: Path) -> None:
    """Then it is left alone, with a word."""
    folder = write(tmp_path, content_of(specs=()))
    for number in (1, 2, 3):
        found = read_carried(folder, CHAIN, BOOT)
        assert found is not None
        assert count_try(folder, found) == number
    with pytest.raises(ValueError, match="3 services in a row did not outlive it"):
        read_carried(folder, CHAIN, BOOT)


@pytest.mark.parametrize(
    ("token", "more"),
    [("", {}), ("another", {}), (CHAIN, {"boot_id": "another"}), ("", {"token": ""})],
)
def test_what_is_not_of_the_last_keeper_or_of_another_boot_is_nobody_s(
    tmp_path: Path, token: str, more: dict[str, Any]
) -> None:
    """A child that outlived its keeper wrote it, or the clock began anew."""
    content = content_of(specs=(), **more)
    assert read_carried(write(tmp_path, content), token, BOOT) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"v": 99}', '{"v": 1}', "\xff\xfe", "[" * 100_000,
     f'{{"v": 1, "token": "{CHAIN}", "boot_id": "{BOOT}", "tries": "x"}}'],
)  # fmt: skip
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    """It keeps nobody from starting."""
    (tmp_path / FILE_NAME).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"carry.json|Expecting|codec"):
        read_carried(str(tmp_path), CHAIN, BOOT)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nor is what it points to removed."""
    other = tmp_path / "other"
    other.write_text("{}")
    (tmp_path / FILE_NAME).symlink_to(other)
    with pytest.raises(ValueError, match=r"carry.json"):
        read_carried(str(tmp_path), CHAIN, BOOT)
    assert other.exists()


def test_records_and_sizes_become_what_an_adopted_supervisor_finds() -> None:
    """Open breakers and stops by hand; workers that the file has no place for are left out."""
    web, db = a_spec("web", 2, max_restarts=2), a_spec("db")
    tripped = Worker("web", 2, a_policy(), Tripped(5.0), run=4, failures=(1.0, 5.0))
    stopped = Worker("db", 1, a_policy(), Stopped(by_hand=True), run=2)
    lost = Worker("gone", 1, a_policy(), Tripped(5.0))
    beyond = [Worker("db", index, a_policy(), Tripped(5.0)) for index in (2, 0, -1)]
    content = content_of(
        tripped, stopped, lost, *beyond, specs=(web, db, a_spec("gone")), sizes={"db": [1, 1]}
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
