"""What `status` prints: a line per pool, what is wrong last, nothing that a terminal obeys."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.cli import colour, detail, snapshot, table
from tests.support.control import a_supervisor, a_worker

DOWN: dict[str, Any] = {
    "pid": None,
    "ready": False,
    "started_at_s": None,
    "cpu_percent": None,
    "pss_bytes": None,
    "rss_bytes": None,
    "fds": None,
    "threads": None,
    "processes": None,
    "memory_bytes": None,
    "sampled_at_s": None,
}
DAY_S = 86400.0
NOW_S = 10 * DAY_S


def ended(reason: str, **changed: object) -> dict[str, Any]:
    """Return a last exit."""
    exit_ = {"code": None, "signal": None, "reason": reason, "at": "2026-11-18T12:00:00Z"}
    return exit_ | {"ok": False} | changed


def an_afternoon() -> list[dict[str, Any]]:
    """Return a small fleet in which something of everything goes on."""
    long_ago: dict[str, Any] = {"started_at_s": NOW_S - 3 * DAY_S - 7200}
    return [
        a_worker("beat", **long_ago),
        *(
            a_worker(f"celery-{i}", pid=100 + i, cpu_percent=7.6, pss_bytes=371 << 20)
            | long_ago | {"recycles": int(i == 1), "restarts": int(i < 3)}
            for i in range(1, 9)
        ),
        a_worker("hourly", **DOWN, state="waiting", note="next 15:07, last ok"),
        a_worker(
            "mailer", **DOWN, state="tripped", restarts=4, failures_in_window=5, breaker="open",
            note="5 failures in 10m", last_exit=ended("exit 1", code=1),
        ),
        a_worker(
            "media-resize", **DOWN, state="backoff", restarts=3, failures_in_window=4,
            next_start_at_s=NOW_S + 3.2, last_exit=ended("exit 1", code=1),
        ),
        a_worker("media-thumbs-1", **long_ago),
        a_worker(
            "media-thumbs-2", **DOWN, state="backoff", failures_in_window=2, restarts=9,
            next_start_at_s=NOW_S + 0.7, last_exit=ended("SIGSEGV", signal="SIGSEGV"),
        ),
        a_worker("media-thumbs-3", **long_ago),
        a_worker("night", **DOWN, state="stopped", note="stopped by hand"),
        a_worker("web-1", started_at_s=NOW_S - 4000),
        a_worker("web-2", started_at_s=NOW_S - 5),
    ]  # fmt: skip


def seen(*workers: dict[str, Any], **supervisor: object) -> dict[str, Any]:
    """Return a status as the command holds it."""
    answer = {"now_s": NOW_S, "supervisor": a_supervisor(**supervisor), "workers": list(workers)}
    return snapshot.snapshot(answer)


def test_a_line_per_pool_says_what_runs_and_what_is_next() -> None:
    """The table as an operator reads it in the afternoon."""
    workers = seen(*an_afternoon())["workers"]

    assert table.table(workers, every_instance=False) == [
        "NAME          STATE    READY     PID   UP RST  CPU%   MEM  NOTE",
        "beat          running    1/1    4211   3d   0   0.1   61M",
        "celery        running    8/8       -   3d   2  60.8  2.9G  1 recycled",
        "hourly        waiting      -       -    -   0     -     -  next 15:07, last ok",
        "mailer        tripped    0/1       -    -   4     -     -  5 failures in 10m",
        "media-resize  backoff    0/1       -    -   3     -     -  exit 1; again in 3s",
        "media-thumbs  running    2/3       -   3d   9   0.2  122M  -2 in backoff",
        "night         stopped      -       -    -   0     -     -  stopped by hand",
        "web           running    2/2       -   1h   0   0.2  122M",
    ]


def test_the_note_of_a_pool_is_that_of_the_first_instance_that_has_one() -> None:
    """All of them start, and only the second has been answered badly."""
    pool = [
        a_worker("web-1", state="starting", ready=False),
        a_worker("web-2", state="starting", ready=False, note="health: no answer"),
    ]
    assert table.table(seen(*pool)["workers"], every_instance=False)[1].endswith(
        "  -2: health: no answer"
    )


def test_of_a_failed_job_the_failure_is_what_is_not_cut() -> None:
    """The longer the name, the less there is room for; a glance at the table must still find it."""

    def lines(name: str) -> str:
        job = a_worker(
            name, **DOWN, state="waiting", schedule="every 1h", last_exit=ended("exit 3", code=3),
            note="next 15:07, last failed: exit 3",
        )  # fmt: skip
        return table.table(seen(job)["workers"], every_instance=False)[1]

    assert lines("job").endswith("  failed: exit 3; next 15:07")
    assert lines("hourly").endswith("  failed: exit 3; next 15:07")
    assert lines("hourly-report").endswith("  failed: exit 3; n...")
    assert lines("report-of-everything").endswith("  failed: ex...")


def test_dash_a_prints_a_line_for_each_instance() -> None:
    """Where one of three is ill, -a shows which and why."""
    workers = [w for w in seen(*an_afternoon())["workers"] if w["pool"] == "media-thumbs"]

    assert table.table(workers, every_instance=True) == [
        "NAME            STATE    READY     PID   UP RST  CPU%   MEM  NOTE",
        "media-thumbs-1  running    1/1    4211   3d   0   0.1   61M",
        "media-thumbs-2  backoff    0/1       -    -   9     -     -  SIGSEGV; again i...",
        "media-thumbs-3  running    1/1    4211   3d   0   0.1   61M",
    ]


def test_problems_stand_last_with_what_to_type() -> None:
    """Next to the prompt stands the next command."""
    status = seen(*an_afternoon(), warnings=["the file on disk has errors"], state="stopping")

    assert table.problems(status, "supervisord-lite -i shop") == [
        "! the file on disk has errors",
        "! the daemon itself is stopping",
        "! mailer: supervisord-lite -i shop why mailer",
    ]


MISSING = "no such file or directory: /srv/shop/releases/current/bin/mailer"


def test_what_never_ran_needs_somebody_too() -> None:
    """Also where it is tried again: nothing of ours will bring what is missing."""
    exec_failed = ended(f"spawn failed (exec): {MISSING}")
    status = seen(
        a_worker("big", **DOWN, state="tripped", last_exit=exec_failed, note="hopeless"),
        a_worker(
            "gone", **DOWN, state="backoff", next_start_at_s=NOW_S + 299, last_exit=exec_failed
        ),
        a_worker("once", **DOWN, state="exited", last_exit=exec_failed),
        a_worker("web", **DOWN, state="backoff", last_exit=ended("exit 1", code=1)),
    )

    assert table.problems(status, "sdl") == [
        "! big: sdl why big",
        "! gone: sdl why gone",
        "! once: sdl why once",
    ]
    shown = " ".join(detail.detail(status["workers"][1], "sdl")[-1].split())
    assert shown == f"next {MISSING}, again in 4m59s; at once: sdl start gone"


def test_a_note_is_cut_to_the_terminal() -> None:
    """The line fits and says when it goes on; what is whole stands in `status NAME`."""
    gone = a_worker(
        "gone", **DOWN, state="backoff", next_start_at_s=NOW_S + 299,
        last_exit=ended(f"spawn failed (exec): {MISSING}"),
    )  # fmt: skip
    workers = seen(gone)["workers"]
    start = "gone  backoff    0/1       -    -   0     -     -  "

    def line(columns_max: int) -> str:
        return table.table(workers, every_instance=False, columns_max=columns_max)[1]

    assert line(80) == start + "no such file ...; again in 4m"
    assert line(100) == start + "no such file or directory: /srv/s...; again in 4m"
    assert line(60) == start + "no suc..."


def test_a_hundred_problems_are_counted_after_ten() -> None:
    """The prompt stays in sight."""
    status = seen(*(a_worker(f"m{i}", **DOWN, state="tripped") for i in range(100)))

    lines = table.problems(status, "supervisord-lite")

    assert len(lines) == 11
    assert lines[-1] == "! and 90 more: supervisord-lite status --check"


def test_totals_count_pools_and_processes() -> None:
    """One glance: how many are well."""
    line = table.totals(seen(*an_afternoon()))

    assert line.startswith("8 workers, 13 processes: 4 ok, 1 tripped, 2 in backoff, 1 stopped.   ")
    assert table.totals(seen(a_worker("a"))).startswith("1 worker, 1 process: 1 ok.   ")
    assert table.totals(seen()).startswith("0 workers, 0 processes.   ")


def test_check_prints_only_what_is_not_as_wanted() -> None:
    """Monitoring sees what is wrong, and nothing that somebody wanted so."""
    assert table.wrong_lines(seen(*an_afternoon())["workers"]) == [
        "mailer         tripped  5 failures in 10m",
        "media-resize   backoff  exit 1, failure 4 of 5, again in 3.2s",
        "media-thumbs-2 backoff  SIGSEGV, failure 2 of 5, again in 0.7s",
    ]


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, True),
        ({"ready": False}, False),
        ({**DOWN, "state": "stopped"}, True),
        ({**DOWN, "state": "waiting"}, True),
        ({**DOWN, "state": "exited", "last_exit": ended("exit 0", code=0, ok=True)}, True),
        ({**DOWN, "state": "exited", "last_exit": ended("exit 3", code=3, ok=True)}, True),
        ({**DOWN, "state": "exited", "last_exit": ended("exit 1", code=1)}, False),
        ({"state": "starting", "ready": False}, False),
        ({"state": "stopping", "ready": False}, False),
        ({"state": "probing"}, False),
        ({**DOWN, "state": "backoff"}, False),
        ({**DOWN, "state": "tripped"}, False),
    ],
)
def test_as_wanted_means_where_it_should_be(changed: dict[str, Any], wanted: bool) -> None:
    """A finished job and a stop by hand are well; whoever is on the way is not there yet."""
    (worker,) = seen(a_worker("a", **changed))["workers"]

    assert snapshot.as_wanted(worker) is wanted
    assert bool(table.wrong_lines([worker])) is not wanted


def test_json_has_every_key_even_when_the_daemon_leaves_some_out() -> None:
    """Programs find null, never nothing; times are durations, not the daemon's clock."""
    fixed = [
        "name", "pool", "instance", "state", "pid", "ready", "uptime_s", "restarts", "recycles",
        "failures_in_window", "breaker", "next_start_in_s", "critical", "rss_bytes", "pss_bytes",
        "cpu_percent", "last_exit", "note",
    ]  # fmt: skip
    status = snapshot.snapshot({"now_s": 5.0, "workers": [{"name": "a"}]})
    (worker,) = status["workers"]

    assert list(worker)[: len(fixed)] == fixed
    assert {key: worker[key] for key in fixed} == dict.fromkeys(fixed) | {"name": "a"}
    assert list(status["supervisor"])[:7] == [
        "version", "pid", "keeper_pid", "state", "started_at", "generation", "config",
    ]  # fmt: skip

    (worker,) = seen(a_worker("a", started_at_s=NOW_S - 1.5, next_start_at_s=NOW_S - 3))["workers"]
    assert worker["uptime_s"] == 1.5
    assert worker["next_start_in_s"] == 0.0
    (worker,) = seen(a_worker("a", last_exit={"reason": "exit 1"}))["workers"]
    assert list(worker["last_exit"])[:4] == ["code", "signal", "reason", "at"]


def test_one_worker_in_detail() -> None:
    """Everything about one worker in a few lines."""
    status = seen(
        a_worker(
            "celery-3", started_at_s=NOW_S - 3 * DAY_S - 7200, pid=4402, run=7, restarts=1,
            cpu_percent=7.6, pss_bytes=371 << 20, memory_bytes=371 << 20, fds=41, threads=9,
            processes=3, recycles=4, sampled_at_s=NOW_S,
            last_exit=ended("SIGSEGV", signal="SIGSEGV", at="2025-11-19T12:00:00Z"),
            output={"stdout": "/no/celery-3.log", "stderr": "/no/e.log", "dropped_bytes": 0},
            limits=["nofile 65536", "memory 1G NOT ENFORCED: no memory controller here"],
            recycle={"memory_bytes": 900 << 20, "age_at_s": None, "runs": None},
        ),
        started_at="no time",
    )  # fmt: skip
    status["supervisor"]["started_at"] = "3d ago"
    (worker,) = status["workers"]

    assert detail.detail(worker, "supervisord-lite", status["supervisor"]) == [
        "celery-3   running, ready, for 3d 2h      pid 4402 (tree of 3)   run 7",
        "  memory   371M of 900M recycle           cpu 7.6%   fds 41   threads 9",
        "  restarts 1 in 3d (SIGSEGV, 19 Nov)      recycles 4   failures 0 of 5 in 10m",
        "  output   /no/celery-3.log, 0 dropped",
        "  stderr   /no/e.log",
        "  limits   nofile 65536; memory 1G NOT ENFORCED: no memory controller here",
        "  next     nothing pending",
    ]


def test_a_detail_says_what_it_does_not_know_by_leaving_it_out(tmp_path: Path) -> None:
    """A stop is no failure, a sample has its age, and a log its size."""
    log = tmp_path / "a.log"
    log.write_bytes(bytes(2048))
    (worker,) = seen(
        a_worker(
            "a", started_at_s=NOW_S - 5, sampled_at_s=NOW_S - 61, fds=None, threads=None,
            processes=None, pss_bytes=None, memory_bytes=None, critical=True,
            last_exit=ended("SIGTERM", signal="SIGTERM", asked=True), limits=["x " * 60],
            output={"stdout": str(log), "stderr": str(log), "dropped_bytes": 3 << 20},
            recycle={"memory_bytes": None, "age_at_s": NOW_S + 3600, "runs": None},
        )
    )["workers"]  # fmt: skip
    lines = "\n".join(detail.detail(worker, "supervisord-lite")).split("\n")
    text = " ".join("\n".join(lines).split())

    for words in (
        "a running, ready, for 5s, critical pid 4211 run 1",
        "memory 64M cpu 0.1% 1m1s ago",
        "restarts 0 recycles 0 failures 0 of 5 in 10m",
        f"output {log} (2.0K), 3.0M dropped",
        "next a fresh run in 1h, for its age",
    ):
        assert words in text
    assert max(map(len, (line for line in lines if str(log) not in line))) <= 80


def test_a_tripped_worker_in_detail_says_what_ends_it() -> None:
    """Nobody has to guess that reset is the word."""
    (worker,) = [w for w in seen(*an_afternoon())["workers"] if w["name"] == "mailer"]

    lines = detail.detail(worker, "supervisord-lite -i shop")

    assert lines[0].split() == ["mailer", "tripped", "run", "1"]
    (restarts,) = [line for line in lines if line.startswith("  restarts")]
    assert restarts.startswith("  restarts 4 (exit 1, 18 Nov)")
    assert "failures 5 of 5 in 10m   breaker open" in "\n".join(lines)
    assert lines[-1].split("\n") == [
        "  next     5 failures in 10m; it stays down until: supervisord-lite -i shop",
        "           reset mailer",
    ]


def test_nothing_that_a_worker_says_reaches_the_terminal_as_a_command() -> None:
    """A note, a name or a reason with an escape sequence is shown, not obeyed."""
    evil = "\x1b]0;owned\x07\r\n\u202e\ud800"
    bad = a_worker(
        evil, **DOWN, state="tripped", note=evil, last_exit=ended(evil), limits=[evil],
        output={"stdout": evil, "stderr": evil + "2", "dropped_bytes": 1},
    )  # fmt: skip
    status = seen(bad, a_worker(evil + "-x", **DOWN, state=evil), warnings=[evil], state=evil)
    lines = [
        *table.table(status["workers"], every_instance=True),
        *table.table(status["workers"], every_instance=False),
        table.totals(status),
        *table.problems(status, "supervisord-lite"),
        *table.wrong_lines(status["workers"]),
        *detail.detail(status["workers"][0], "supervisord-lite"),
    ]

    for line in "\n".join(lines).split("\n"):
        assert line.isprintable(), line


@pytest.mark.parametrize("name", ["w", "a-name-of-twenty-xxxx", "x" * 70])
@pytest.mark.parametrize("note", ["", "n" * 200, "word " * 40, "漢字" * 40])
def test_nothing_is_wider_than_80_columns(name: str, note: str) -> None:
    """A terminal of 80 columns never wraps a table."""
    status = seen(
        a_worker(name, note=note, restarts=999, pid=4194304, cpu_percent=9999.9),
        a_worker(f"{name}2", **DOWN, state="tripped", note=note),
        a_worker("z" * 300, **DOWN, state="stopping"),
    )
    lines = table.table(status["workers"], every_instance=False)

    for line in lines:
        assert snapshot_width(line) <= 80, line


def snapshot_width(line: str) -> int:
    """Return the columns of a line, wide characters counted twice."""
    return sum(2 if ord(character) > 0x2000 else 1 for character in line)


def test_the_arguments_of_status_are_those_that_are_promised() -> None:
    """-a, --check and --json work together with names, in any order."""
    from supervisord_lite.cli import status as verb

    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)

    found = parser.parse_intermixed_args(["web", "-a", "db", "--check", "--json", "x"])

    assert found.names == ["web", "db", "x"]
    assert found.all
    assert found.check
    assert found.json


def test_colour_says_how_it_is_and_takes_no_room() -> None:
    """On a terminal only: without it the lines are the same."""
    workers = seen(a_worker("web"), a_worker("bad", **DOWN, state="tripped"))["workers"]
    plain = table.table(workers, every_instance=False)
    painted = table.table(workers, every_instance=False, in_colour=True)
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in painted] == plain
    assert "\x1b[32mrunning \x1b[0m" in painted[1]
    assert "\x1b[31mtripped \x1b[0m" in painted[2]


def test_colour_is_for_terminals_whose_owner_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a pipe, not with NO_COLOR, not where nothing can show it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not colour.is_wanted()
    main_end, other_end = os.openpty()
    with open(other_end, "w") as terminal, open(main_end, "rb"):
        monkeypatch.setattr("sys.stdout", terminal)
        assert colour.is_wanted()
        monkeypatch.setenv("TERM", "dumb")
        assert not colour.is_wanted()
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("NO_COLOR", "1")
        assert not colour.is_wanted()
