"""What is noted of an escalation, and that the end waits for it, but not for ever."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.cli.last_escalation import read_last_escalation
from supervisord_lite.config.effective import FILE_NAME
from supervisord_lite.config.spec import LogTarget, Spec
from supervisord_lite.core import events
from supervisord_lite.core.policy import Critical
from supervisord_lite.scribe.note import LAST_ESCALATION
from supervisord_lite.scribe.note_child import last_lines, write_whole
from supervisord_lite.supervisor.escalation import LastEscalation
from tests.support.supervisor import Daemon, a_spec

NOTE: dict[str, Any] = {
    "at": "2026-01-02T03:04:05.000Z", "worker": "db", "why": "db is gone", "exit_status": 75
}  # fmt: skip


@contextmanager
def a_daemon(*specs: Spec) -> Iterator[Daemon]:
    daemon = Daemon(*specs)
    daemon.settle()
    try:
        yield daemon
    finally:
        daemon.close()


def fail(daemon: Daemon, pool: str, code: int, *, index: int = 1) -> None:
    """Let an instance come back if it is down, and end with *code*."""
    daemon.pass_s(10.0)
    daemon.settle()
    (run,) = [run for run in daemon.keeper.live() if run.key[:2] == (pool, index)]
    daemon.keeper.end(run, code)
    daemon.settle()


def is_over(daemon: Daemon) -> bool:
    return daemon.supervisor._is_over(daemon.clock.s)


def finish(daemon: Daemon, said: bytes) -> None:
    """Let the child of the latest note say something and end."""
    daemon.notes[-1].child.sendall(said)
    daemon.notes[-1].child.close()
    daemon.supervisor._poller.wait(0)
    daemon.supervisor._poller.wait(0)


def test_the_note_says_who_and_why_with_every_failure() -> None:
    """Each failure with its time and its end, and where the last words are."""
    launch = {"stderr": LogTarget("file", "/log/%i.err")}
    with a_daemon(a_spec("db", 2, critical="any", max_restarts=2, launch=launch)) as daemon:
        fail(daemon, "db", 3, index=2)
        first_at_s = daemon.workers["db", 2].failures[0]
        fail(daemon, "db", 4, index=2)

        (note,) = daemon.notes
        assert note.path == f"/state/{LAST_ESCALATION}"
        content = note.content
        assert content["why"] == "critical worker db-2 tripped: exit 4 (failure 2 of 2)"
        assert (content["worker"], content["pool"], content["critical"]) == ("db-2", "db", "any")
        assert (content["exit_status"], content["reason"]) == (75, "exit 4")
        (worker,) = content["workers"]
        assert worker["output"] == "/log/2.err"
        assert [each["code"] for each in worker["failures"]] == [3, 4]
        wall_s = 1_700_000_000.0 + first_at_s
        assert worker["failures"][0]["at"].startswith("2023-11-14T22:1"), wall_s


@pytest.mark.parametrize("said", [b"written\n", b"failed No space left on device\n", b""])
def test_the_end_waits_until_the_child_has_ended(said: bytes) -> None:
    """Everybody is stopped, but what is on its way to the disk may arrive; or may fail."""
    with a_daemon(a_spec("db", critical="any", max_restarts=1)) as daemon:
        fail(daemon, "db", 3)
        assert daemon.supervisor._daemon.is_over(daemon.clock.s)
        assert not is_over(daemon)

        finish(daemon, said)

        assert is_over(daemon)
        assert daemon.supervisor._daemon.verdict == 75


def test_a_disk_that_never_answers_does_not_hold_up_the_end() -> None:
    """After its limit the child is given up: 75 comes all the same."""
    with a_daemon(a_spec("db", critical="any", max_restarts=1)) as daemon:
        fail(daemon, "db", 3)
        assert daemon.supervisor._wait_s() is not None
        assert not is_over(daemon)

        daemon.clock.s = daemon.notes[-1].deadline_s

        assert is_over(daemon)
        assert "does not answer" in daemon.notes[-1].problem


def test_a_child_that_is_given_up_while_workers_stop_wakes_nobody_again() -> None:
    """Its limit is shorter than theirs: the loop sleeps on until something happens."""
    with a_daemon(a_spec("db", critical="any", max_restarts=1), a_spec("web")) as daemon:
        fail(daemon, "db", 3)
        daemon.clock.s = daemon.notes[-1].deadline_s

        assert not is_over(daemon)

        wait_s = daemon.supervisor._wait_s()
        assert wait_s is not None
        assert wait_s > 0


@pytest.mark.parametrize("dies_after", [0, 1, 2, 3])
def test_a_successor_writes_the_same_note(dies_after: int) -> None:
    """Killed after any of its messages: what is written in the end has its reason."""
    specs = (a_spec("web", requires=["db"]), a_spec("db", critical="any", max_restarts=1))
    with a_daemon(*specs) as daemon:
        daemon.pass_s(2.0)
        daemon.settle()
        (db,) = [run for run in daemon.keeper.live() if run.key[0] == "db"]
        daemon.keeper.end(db, 3)
        daemon.turn(dies_after=dies_after)
        daemon.clock.s += 1
        daemon.settle()

        contents = [note.content for note in daemon.notes]
        assert len(contents) == 2
        (failure,) = contents[-1]["workers"][0]["failures"]
        assert failure["code"] == 3
        if dies_after > 0:  # it was saved: not decided anew
            assert contents[0] == contents[1]


@pytest.mark.parametrize("dies_after", [0, 1, 2, None])
def test_a_failure_that_an_earlier_supervisor_saw_keeps_its_exit_code(
    dies_after: int | None,
) -> None:
    """Supervisors are replaced between all failures, and while they save one."""
    with a_daemon(a_spec("db", critical="any", max_restarts=3)) as daemon:
        for code in (3, 4, 5):
            daemon.pass_s(10.0)
            daemon.settle()
            daemon.keeper.end(daemon.keeper.live()[0], code)
            daemon.turn(dies_after=dies_after)
            daemon.replace()
            daemon.settle()

        (worker,) = daemon.notes[-1].content["workers"]
        assert [each["code"] for each in worker["failures"]] == [3, 4, 5]


def kept(daemon: Daemon) -> dict[str, int]:
    """Return how many ends are saved with each worker that has some."""
    saves = daemon.keeper.table.saves
    records = {key: json.loads(text) for key, text in saves.items() if key.startswith("worker/")}
    return {key: len(each["ends"]) for key, each in records.items() if "ends" in each}


def test_only_so_many_ends_are_kept_and_only_of_critical_workers() -> None:
    """A worker that fails for ever costs no more than one that fails ten times."""
    policy: dict[str, Any] = {"max_restarts": 99, "circuit_window_s": 1e6}
    with a_daemon(a_spec("db", critical="any", **policy), a_spec("web", **policy)) as daemon:
        for _ in range(12):
            daemon.pass_s(400.0)
            daemon.settle()
            for run in daemon.keeper.live():
                daemon.keeper.end(run, 3)
            daemon.settle()
        assert kept(daemon) == {"worker/db/1": 10}


@pytest.mark.parametrize("how", ["reset", "removed", "not critical"])
def test_ends_that_nobody_will_ask_for_are_forgotten(how: str) -> None:
    """They go with the failures, with the worker and with the key, also from memory."""
    with a_daemon(a_spec("db", critical="any"), a_spec("web")) as daemon:
        fail(daemon, "db", 3)
        assert kept(daemon) == {"worker/db/1": 1}
        daemon.replace()
        daemon.settle()
        assert kept(daemon) == {"worker/db/1": 1}

        if how == "reset":
            daemon.supervisor._fleet.feed(("db", 1), events.ResetRequested())
        else:
            daemon.reload(*([a_spec("db")] if how == "not critical" else []), a_spec("web"))
        daemon.settle()
        if how == "not critical":
            fail(daemon, "db", 3)

        assert kept(daemon) == {}
        assert not any(daemon.supervisor._note._failures.values())


def test_a_critical_pool_of_all_notes_every_instance() -> None:
    """With "all" each of them is part of the reason, the last one first."""
    with a_daemon(a_spec("db", 3, critical="all", max_restarts=1)) as daemon:
        for index in (3, 1, 2):
            assert daemon.notes == []
            fail(daemon, "db", index, index=index)

        content = daemon.notes[0].content
        assert content["critical"] == "all"
        assert [worker["name"] for worker in content["workers"]] == ["db-2", "db-1", "db-3"]


@pytest.mark.parametrize("critical", ["any", "all"])
def test_a_note_fits_into_a_message_however_large_the_pool(critical: Critical) -> None:
    """A pool of hundreds with long reasons escalates like any other."""
    spec = a_spec("db", 300, critical=critical, max_restarts=1)
    with a_daemon(spec) as daemon:
        for run in daemon.keeper.live():
            daemon.keeper.end(run, 3)
        daemon.settle()

        assert daemon.notes[0].content["pool"] == "db"
        assert len(json.dumps(daemon.notes[0].content)) < 20_000


# What the child writes.


def test_the_file_is_replaced_as_a_whole_and_closed_to_others(tmp_path: Path) -> None:
    """An older one is gone, nothing half is left beside it."""
    path = tmp_path / LAST_ESCALATION
    path.write_text("old")

    write_whole(str(path), NOTE)

    assert json.loads(path.read_text()) == NOTE
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_last_lines_are_whole_lines_of_the_end(tmp_path: Path) -> None:
    """Twenty at most, and no half line at their beginning."""
    path = tmp_path / "log"
    path.write_text("".join(f"line {n} {'x' * 900}\n" for n in range(50)))
    assert [line.split()[1] for line in last_lines(str(path))][-3:] == ["47", "48", "49"]
    assert all(line.startswith("line ") for line in last_lines(str(path)))

    path.write_text("\n".join(map(str, range(50))))
    assert last_lines(str(path)) == [str(n) for n in range(30, 50)]


def test_what_is_no_log_file_has_no_last_lines(tmp_path: Path) -> None:
    """A missing file, a folder, a link."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("missing", ".", "link"):
        assert last_lines(str(tmp_path / name)) == []


# What the next start makes of it.


def test_a_note_of_the_run_before_is_recent(tmp_path: Path) -> None:
    """Newer than the last start: it ended that run. Older: that has had its hour."""
    write_whole(str(tmp_path / LAST_ESCALATION), NOTE)
    assert read_last_escalation(str(tmp_path)) == {**NOTE, "is_recent": True}

    (tmp_path / FILE_NAME).touch()
    assert read_last_escalation(str(tmp_path)) == {**NOTE, "is_recent": False}


GOOD = '{"at": "now", "worker": "w", "why": "x", "exit_status": 75}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"at": 1}', "\xff", "{" * 2000, "[" * 200_000, "7"),
        *(GOOD.replace("75", other) for other in ("1e999", "NaN", "true", "-1", "7" * 5000, "[]")),
        GOOD.replace('"x"', '["x"]'),
    ],
    ids=lambda text: text[:70],
)
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    """Nothing depends on it, so nothing fails for it."""
    (tmp_path / LAST_ESCALATION).write_text(text)

    assert read_last_escalation(str(tmp_path)) is None


def test_a_note_of_somebody_else_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the daemon's own user can have written it."""
    (tmp_path / LAST_ESCALATION).write_text(GOOD)
    assert read_last_escalation(str(tmp_path)) is not None

    monkeypatch.setattr("os.geteuid", lambda: (tmp_path / LAST_ESCALATION).stat().st_uid + 1)

    assert read_last_escalation(str(tmp_path)) is None


def test_unfinished_notes_are_removed_at_the_next_start(tmp_path: Path) -> None:
    """Those that nobody writes any more; other files are not ours to remove."""
    with subprocess.Popen(["/bin/true"]) as ended:
        pass
    unfinished = tmp_path / f".{LAST_ESCALATION}.{ended.pid}"
    kept = [
        tmp_path / name
        for name in (
            f".{LAST_ESCALATION}.{os.getpid()}",
            f".{LAST_ESCALATION}.old",
            f".{LAST_ESCALATION}.",
            f"{LAST_ESCALATION}.{ended.pid}",
        )
    ]
    for path in (unfinished, *kept):
        path.write_text("{")

    assert read_last_escalation(str(tmp_path)) is None

    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert read_last_escalation(str(tmp_path / "none")) is None


def test_status_warns_for_an_hour_after_the_start_that_followed() -> None:
    """Then, or when that start was not the next one, it stands in the JSON only."""
    recent = LastEscalation(json.dumps({**NOTE, "is_recent": True}))
    older = LastEscalation(json.dumps({**NOTE, "is_recent": False}))

    (line,) = recent.warnings(3599.0)
    assert "ended with 75 at 2026-01-02T03:04:05.000Z: db is gone" in line
    assert recent.warnings(3600.0) == older.warnings(1.0) == LastEscalation(None).warnings(1.0)
    assert recent.shown == older.shown == NOTE
    assert LastEscalation(None).shown is None


def test_a_supervisor_that_slept_through_the_cooldown_escalates() -> None:
    """The trip comes first, however late somebody hears of it."""
    with a_daemon(a_spec("db", critical="any", max_restarts=1, circuit_cooldown_s=5.0)) as daemon:
        (run,) = daemon.keeper.live()
        daemon.keeper.end(run, 1)
        daemon.clock.s += 60.0
        daemon.settle()
        assert daemon.supervisor._daemon.verdict == 75
        assert daemon.keeper.started == [("db", 1, 1)]
