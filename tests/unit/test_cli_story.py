"""`why` as people read it: five parts, 80 columns, a text for each cause."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from supervisord_lite.cli import deciding, events, snapshot
from supervisord_lite.cli.happened import line_of
from supervisord_lite.cli.story import Story, lines_of
from tests.support.control import a_worker

NOW = datetime(2026, 11, 21, 14, 5, 2, tzinfo=UTC)
DOWN: dict[str, Any] = {"pid": None, "ready": False, "started_at_s": None}
ANNA = {"by_user": "anna", "by_uid": 1003, "by_pid": 7, "by_verb": "restart"}
POLICY = {
    "restart": "on-failure", "max_restarts": 5, "circuit_window_s": 600.0,
    "stable_run_period_s": 30.0, "autostart": True,
    "backoff": {"min_s": 1.0, "max_s": 300.0, "factor": 2.0, "jitter": True},
}  # fmt: skip
FIVE = [("max_restarts 5, circuit_window \"10m\"", "default"),
        ('restart "on-failure"', "conf.d/consumers.toml:61")]  # fmt: skip


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def happened(at: str, event: str, **fields: Any) -> dict[str, Any]:
    """Return an event of `mailer` at HH:MM:SS of the day, or at a day and time."""
    whole = f"2026-11-21T{at}.000Z" if "T" not in at else f"{at}.000Z"
    about = {"name": "mailer", "pool": "mailer", "instance": 1}
    if event.partition(".")[0] != "worker":
        about = {}
    return {"id": "l-1", "at": whole, "event": event, **about, **fields}


def started(at: str, pid: int, **fields: Any) -> dict[str, Any]:
    return happened(at, "worker.started", pid=pid, **fields)


def failed(at: str, number: int, in_s: float | None, **fields: Any) -> dict[str, Any]:
    following = {"next": "reset"} if in_s is None else {"next": "restart", "in_s": in_s}
    about = {"pid": 1, "attempt": number, **fields, "failure": number, "of": 5, **following}
    return happened(at, "worker.failed", **about)


def told(
    told_events: list[dict[str, Any]],
    *,
    since: str | None = None,
    words: tuple[str, ...] = (),
    decided: list[tuple[str, str]] | None = None,
    waits_for: list[dict[str, Any]] | None = None,
    policy: dict[str, Any] | None = None,
    **worker: Any,
) -> str:
    shown = snapshot.snapshot({"now_s": 100.0, "workers": [a_worker("mailer", **worker)]})
    about = {
        "worker": shown["workers"][0],
        "since": None if since is None else f"2026-11-21T{since}.000Z",
        "policy": {**POLICY, **(policy or {})},
        "waits_for": waits_for or [],
    }
    story = Story(about, told_events, now=NOW)
    last_words = [{"name": "mailer", "path": "/log", "lines": list(words)}]
    lines = list(lines_of(story, last_words, decided or [], command="supervisord-lite"))
    assert all(len(line) <= 80 for text in lines for line in text.splitlines()), lines
    return "\n".join(lines) + "\n"


def ended(reason: str, code: int | None = None) -> dict[str, Any]:
    return {"code": code, "signal": None, "reason": reason, "at": "", "ok": code == 0}


CHAIN = [
    happened("12:00:00", "daemon.started", pid=1),
    started("12:00:00", 6001),
    happened("13:58:01", "worker.stopped", pid=6001, signal="SIGTERM", ran_s=7081.0,
             asked="restart", **ANNA),
    started("13:58:02", 7101, **ANNA),
    failed("13:58:41", 1, 0.8, code=1, ran_s=39.0),
    started("13:58:42", 7144),
    failed("13:58:44", 2, 1.6, code=1, ran_s=2.1),
    started("13:58:46", 7151),
    happened("13:58:47", "supervisor.adopted", adoption=1),
    failed("13:58:48", 3, 3.1, code=1, ran_s=2.0),
    started("13:58:51", 7160),
    failed("13:58:53", 4, 6.9, signal="SIGSEGV", ran_s=2.2),
    started("13:59:00", 7169),
    failed("13:59:02", 5, None, pid=7169, code=1, ran_s=2.0),
    happened("13:59:02", "worker.tripped", failures=5, of=5, window_s=600.0, next="reset"),
    happened("13:59:03", "worker.cleared", left=2, killed="4123 sh, 4130 sleep"),
    happened("13:59:09", "supervisor.adopted", adoption=2),
]  # fmt: skip


def test_a_tripped_worker_from_the_start_that_a_person_asked_for() -> None:
    """All five parts."""
    assert told(
        CHAIN, **DOWN, state="tripped", since="13:59:02", last_exit=ended("exit 1", 1),
        words=("smtplib.SMTPAuthenticationError: (535, b'5.7.8 Bad credentials')", "", "x" * 100),
        decided=FIVE, max_restarts=5,
    ) == f"""\
mailer is TRIPPED since 13:59:02 (6m): 5 failures in 10m, limit 5.
It stays down until "reset mailer" or until its configuration changes.

13:58:02  started  pid 7101, by anna (uid 1003): restart mailer
13:58:41  failed   exit 1 after 39s                            failure 1 of 5
13:58:42  started  pid 7144, waited 0.8s of 0.5-1s
13:58:44  failed   exit 1 after 2.1s                           failure 2 of 5
13:58:46  started  pid 7151, waited 1.6s of 1-2s
13:58:47  daemon   its supervisor was replaced; that restarts nothing
13:58:48  failed   exit 1 after 2s                             failure 3 of 5
13:58:51  started  pid 7160, waited 3.1s of 2-4s
13:58:53  failed   killed by SIGSEGV after 2.2s                failure 4 of 5
13:59:00  started  pid 7169, waited 6.9s of 4-8s
13:59:02  failed   exit 1 after 2s                             failure 5 of 5
13:59:02  tripped  5 failures since 13:58:41, inside 10m
13:59:03  cleared  2 processes left behind and killed: 4123 sh, 4130 sleep

last words of pid 7169
  smtplib.SMTPAuthenticationError: (535, b'5.7.8 Bad credentials')
  {"x" * 75}...
decided by
  max_restarts 5, circuit_window "10m"   default
  restart "on-failure"                   conf.d/consumers.toml:61
try
  supervisord-lite logs mailer -n 50
  supervisord-lite reset mailer
"""  # fmt: skip


def test_a_first_failure_after_a_stable_run_begins_a_new_row() -> None:
    """Failures count on, waits begin again; days are named where they change."""
    assert told(
        [
            started("2026-11-20T23:00:00", 1),
            failed("2026-11-20T23:59:58", 3, 0.8, attempt=1, code=4, ran_s=3600.0),
            started("00:00:01", 2),
        ],
        since="00:00:01", pid=2,
    ) == """\
mailer is RUNNING since 00:00:01 (14h5m, pid 2). Before that:

20 Nov 2026:
23:00:00  started  pid 1, with the daemon
23:59:58  failed   exit 4 after 1h                             failure 3 of 5
21 Nov 2026:
00:00:01  started  pid 2, waited 0.8s of 0.5-1s (new row: ran over 30s)

"""[:-1]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"code": 3, "ran_s": 0.0}, "exit 3 after 0s"),
        ({"signal": "SIGKILL", "ran_s": 7200.0}, "killed by SIGKILL after 2h"),
        ({"signal": "SIGKILL", "ran_s": 60.0, "reason": "not ready after 60s"},
         "not ready after 60s"),
        ({"ran_s": 1.0, "reason": "unknown"}, "nobody saw how it ended after 1s"),
        ({"ran_s": 0.0, "reason": "spawn failed (user): no \x1bx"},
         "could not be set up (user): no \\x1bx"),
        ({"signal": "SIGTERM", "ran_s": 9.0, "reason": "no heartbeat for 30s"},
         "no heartbeat for 30s"),
    ],
)  # fmt: skip
def test_each_cause_of_a_failure_has_its_words(fields: dict[str, Any], line: str) -> None:
    """And nothing of what a worker says is obeyed by a terminal."""
    text = told(
        [started("14:00:00", 1), failed("14:00:01", 1, 1.0, **fields)],
        **DOWN, state="backoff", since="14:00:01", next_start_at_s=103.2,
    )  # fmt: skip
    assert " ".join(text.split()).startswith(
        f"mailer is in BACKOFF since 14:00:01 (5m1s): {line}. "
        "Failure 1 of 5; it starts again in 3.2s. 14:00:00 "
    )
    assert f"14:00:01  failed   {line}" in text


def test_a_long_reason_is_folded_and_counted_below() -> None:
    """The count stands at the right all the same."""
    reason = "spawn failed (directory): " + "no such directory: /srv/shop/current/with/a/long/path"
    text = told(
        [failed("14:00:01", 1, 300.0, ran_s=0.0, reason=reason)],
        **DOWN, state="backoff", last_exit=ended(reason),
    )  # fmt: skip
    assert """
14:00:01  failed   could not be set up (directory): no such directory:
                   /srv/shop/current/with/a/long/path          failure 1 of 5
""" in text  # fmt: skip
    assert "last words" not in text
    assert text.endswith("  supervisord-lite start mailer\n")


def test_a_signal_that_a_person_sent() -> None:
    """What ended it, and who."""
    sent = happened("14:00:01", "worker.signalled", signal="SIGKILL", by_uid=1003, by_user="anna")
    killed = failed("14:00:01", 1, 0.7, signal="SIGKILL", ran_s=1.0)
    text = told([started("14:00:00", 1), sent, killed], pid=3, since="14:00:02")
    assert "14:00:01  signal   SIGKILL sent by anna (uid 1003)\n" in text
    assert "killed by SIGKILL after 1s, sent by anna (uid 1003)" in text
    assert "sent by" not in told([sent | {"signal": "SIGHUP"}, killed]).split("failed")[1]


def test_a_signal_that_two_processes_of_a_worker_got_is_told_once() -> None:
    """While one takes over from the other; another one to the same process is another one."""
    sent = {"event": "worker.signalled", "signal": "SIGHUP", "by_uid": 0, "at": "x"}
    first, second = {**sent, "run": 1}, {**sent, "run": 2}
    assert line_of(first, [], {}) == ("signal", "SIGHUP sent by uid 0")
    assert line_of(second, [first], {}) is None
    assert line_of(second, [first, second], {}) == ("signal", "SIGHUP sent by uid 0")


def test_a_worker_that_somebody_stopped() -> None:
    """Who, and what brings it up."""
    who = {**ANNA, "by_verb": "stop"}
    stop = happened("14:00:00", "worker.stopped", pid=3, code=0, ran_s=9.0, asked="stop", **who)
    assert told([started("13:59:00", 3), stop], **DOWN, state="stopped") == """\
mailer is STOPPED since 14:00:00 (5m2s): anna (uid 1003): stop mailer.
It stays down until "start mailer".

13:59:00  started  pid 3, with the daemon
14:00:00  stopped  exit 0 after 9s, by anna (uid 1003): stop mailer

try
  supervisord-lite start mailer
"""  # fmt: skip


def test_a_worker_that_nobody_has_started() -> None:
    """The line of the file that decided."""
    assert told(
        [happened("12:00:00", "daemon.started", pid=1)], **DOWN, state="stopped",
        policy={"autostart": False}, decided=[("autostart false", "shop.toml:4")],
    ) == """\
mailer is STOPPED: nobody has started it.
autostart is false. It stays down until "start mailer".
decided by
  autostart false                        shop.toml:4
try
  supervisord-lite start mailer
"""  # fmt: skip


def test_a_worker_that_waits_for_others() -> None:
    """The chain, and the command for the one that must move."""
    chain: list[dict[str, Any]] = [
        {"pool": "web", "name": "web-2", "state": "waiting", "reason": None},
        {"pool": "db", "name": "db", "state": "tripped", "reason": "exit 1"},
    ]
    waiting = happened("14:00:52", "worker.waiting", **{"for": "requires web"})
    assert told(
        [happened("14:00:52", "daemon.started", pid=1), waiting], **DOWN, state="waiting",
        note="requires web", waits_for=chain, decided=[('requires ["web"]', "shop.toml:9")],
    ) == """\
mailer is WAITING since 14:00:52 (4m10s): it requires web.
  mailer -> web-2   waiting
  web -> db   tripped: exit 1

14:00:52  waiting  requires web

decided by
  requires ["web"]                       shop.toml:9
try
  supervisord-lite why db
"""  # fmt: skip


def test_a_breaker_that_is_open_since_an_earlier_life() -> None:
    """The story goes back beyond the daemon's start until something happened to the worker."""
    text = told(
        [*CHAIN[-5:-1], happened("14:04:00", "daemon.stopped", code=0),
         happened("14:04:01", "daemon.started", pid=8)],
        **DOWN, state="tripped", since="14:04:01",
    )  # fmt: skip
    assert text.count("daemon   ") == 2
    assert "13:59:02  tripped  5 failures, inside 10m\n" in text
    assert "14:04:01  daemon   started, pid 8\n" in text


def test_a_long_story_is_cut_and_says_where_the_rest_is() -> None:
    """Twenty events, and the way to all of them."""
    many = [failed("13:00:00", n, 1.0, code=1, ran_s=1.0) for n in range(1, 40)]
    text = told(many, **DOWN, state="backoff", last_exit=ended("exit 1", 1))
    assert text.count("failed   ") == 20
    assert "(earlier: supervisord-lite events mailer)\n" in text


def test_what_happened_to_others_is_not_told() -> None:
    """Another instance of the pool is another worker."""
    other = failed("13:00:00", 1, 1.0, code=1, ran_s=1.0) | {"instance": 2}
    assert (
        told([other], since="13:00:00", pid=1)
        == "mailer is RUNNING since 13:00:00 (1h5m, pid 1).\n"
    )


def test_a_reload_is_told_where_something_came_of_it() -> None:
    """Not one that left the worker alone, nor one before what a person ordered."""
    reload = happened("13:00:00", "config.reloaded", generation=4)
    restart = {"pid": 1, "signal": "SIGTERM", "ran_s": 9.0, "asked": "restart"}
    began = started("12:00:00", 1)
    text = told([began, reload, happened("13:00:01", "worker.stopped", **restart)])
    assert "13:00:00  reload   configuration 4 came into force\n" in text
    assert "13:00:01  stopped  ended by SIGTERM after 9s\n" in text
    by_hand = happened("13:00:01", "worker.stopped", **restart, **ANNA)
    assert "reload" not in told([began, reload, by_hand])
    assert "reload" not in told([began, reload])


def test_keys_of_each_state() -> None:
    """What decides, and no more; deadlines where they ended a run."""
    assert deciding.keys_for("running", "", has_run=True) == ()
    assert deciding.keys_for("stopped", "", has_run=True) == ()
    assert deciding.keys_for("stopped", "", has_run=False) == ("autostart",)
    assert deciding.keys_for("exited", "still running after 5s", has_run=True) == (
        "restart", "ok_exit_codes", "run_timeout",
    )  # fmt: skip
    assert "heartbeat_timeout" in deciding.keys_for("backoff", "no heartbeat for 5s", has_run=True)
    keys = deciding.keys_for("backoff", "health: HTTP 503, 3 times", has_run=True)
    assert keys[-6:] == (
        "health.http", "health.tcp", "health.exec",
        "health.failures", "health.interval", "health.timeout",
    )  # fmt: skip


def test_a_limit_that_recycled_it_is_told_with_its_place(tmp_path: Any) -> None:
    """Each that did, and none that did not."""
    file = tmp_path / "shop.toml"
    file.write_text(
        f'[supervisor]\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
        '[worker.web]\ncommand = ["true"]\nrecycle.memory = "900M"\nrecycle.age = "2h"\n'
        "recycle.runs = 10\n"
    )
    recycle = {"memory": "900M", "age": "1h", "runs": 10, "jitter": None}
    story = {"worker": {"pool": "web"}, "origin": "shop.toml:4",
             "policy": {**POLICY, "recycle": recycle}}  # fmt: skip
    reasons = "memory 912M of 900M; age 1h; exit 1: memory 5 is no age 7"
    keys = deciding.keys_for("running", reasons, has_run=True)
    assert deciding.decided_by(story, keys, str(file)) == [
        ('recycle.memory "900M"', "shop.toml:6"),
        ('recycle.age "1h"', "in force; the file differs"),
    ]


def test_a_probe_that_decided_is_told_with_its_place(tmp_path: Any) -> None:
    """And one that is another by now."""
    file = tmp_path / "shop.toml"
    file.write_text(
        f'[supervisor]\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
        '[defaults]\nhealth.interval = "5s"\n[worker.web]\ncommand = ["true"]\n'
        'health.tcp = "127.0.0.1:80"\nhealth.failures = 2\nheartbeat_timeout = "9s"\n'
    )
    health = {"tcp": "127.0.0.1:80", "interval": "5s", "timeout": "3s", "failures": 3}
    story = {"worker": {"pool": "web"}, "origin": "shop.toml:6",
             "policy": {**POLICY, "health": health, "heartbeat_timeout_s": 9.0}}  # fmt: skip
    reasons = "health: connection refused, 3 times; no heartbeat for 9s"
    keys = deciding.keys_for("running", reasons, has_run=True)
    assert deciding.decided_by(story, keys, str(file)) == [
        ('health.tcp "127.0.0.1:80"', "shop.toml:8"),
        ("health.failures 3", "in force; the file differs"),
        ('health.interval "5s"', "shop.toml:5 via [defaults]"),
        ('health.timeout "3s"', "default"),
        ('heartbeat_timeout "9s"', "shop.toml:10"),
    ]


def test_values_come_with_their_place_and_say_when_the_file_differs(tmp_path: Any) -> None:
    """As `check --show` finds it; where nobody may read the file, the worker's table."""
    file = tmp_path / "shop.toml"
    file.write_text(
        f'[supervisor]\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
        '[defaults]\nmax_restarts = 7\n[worker.web]\ncommand = ["true"]\ncircuit_window = "5m"\n'
    )
    story = {"worker": {"pool": "web"}, "origin": "shop.toml:6",
             "policy": {**POLICY, "max_restarts": 7}}  # fmt: skip
    keys = ("max_restarts", "circuit_window", "restart", "circuit_cooldown")
    found = deciding.decided_by(story, keys, str(file))
    assert found == [
        ("max_restarts 7", "shop.toml:5 via [defaults]"),
        ('circuit_window "10m"', "in force; the file differs"),
        ('restart "on-failure"', "default"),
    ]
    assert deciding.decided_by(story, keys[:2], str(tmp_path / "none")) == [
        ("max_restarts 7", "shop.toml:6 or what it inherits"),
        ('circuit_window "10m"', "default"),
    ]
    file.write_text(f"{file.read_text()}max_restarts = \n")
    assert deciding.decided_by(story, keys[2:], str(file)) == [('restart "on-failure"', "default")]


def test_mistakes_elsewhere_hide_no_place(tmp_path: Any) -> None:
    """What another worker has wrong, or a variable that only the daemon has, is in nobody's way."""
    file = tmp_path / "shop.toml"
    file.write_text(
        '[worker.bad]\ncommand = ["true"]\nrestart = "perhaps"\nenvironment.A = "${UNSET}"\n'
        '[worker.web]\ncommand = ["true"]\nmax_restarts = 7\n'
    )
    story = {"worker": {"pool": "web"}, "origin": "shop.toml:5",
             "policy": {**POLICY, "max_restarts": 7}}  # fmt: skip
    assert deciding.decided_by(story, ("max_restarts", "restart"), str(file)) == [
        ("max_restarts 7", "shop.toml:7"),
        ('restart "on-failure"', "default"),
    ]


def test_an_event_is_a_line_that_machines_read_too() -> None:
    """TIME WORKER EVENT key=value; what programs alone need stays in --json."""
    event = failed("13:58:41", 1, 0.8, code=1, ran_s=39.0, reason="oh \x07 dear")
    assert events.line_of(event, now=NOW) == (
        "13:58:41 mailer worker.failed pid=1 code=1 ran_s=39.0 "
        'reason="oh \\u0007 dear" failure=1 of=5 next=restart in_s=0.8'
    )
    scaled = happened("2026-11-20T13:58:41", "pool.scaled", pool="web", old=1, new=2)
    assert events.line_of(scaled, now=NOW) == (
        "2026-11-20 13:58:41 - pool.scaled pool=web old=1 new=2"
    )


def test_what_is_missing_is_counted_inside_one_life() -> None:
    """Numbers of two lives have nothing to do with each other."""
    assert events.missing_between("a-7", "a-8") == 0
    assert events.missing_between("a-7", "a-11") == 3
    assert events.missing_between("a-7", "b-11") == 0
    assert events.missing_between("", "a-11") == 0


def test_since_takes_a_duration_or_a_time() -> None:
    """As the daemon writes times, so that texts can be compared."""
    assert events._since("2026-11-21T09:30:00+01:00") == "2026-11-21T08:30:00.000Z"
    now = datetime(2026, 11, 21, 8, 30, 5, 999_999, tzinfo=UTC)
    assert events._since("10m", now) == "2026-11-21T08:20:05.999Z"
    assert events._since("10m").endswith("Z")
    with pytest.raises(Exception, match="neither a duration"):
        events._since("yesterday")


def test_out_of_memory_and_a_recycle_are_told_as_what_they_are() -> None:
    """Who killed it, how much there was, and that giving way was no failure."""
    oom = "2.0G of 2.0G (cgroup oom_kill +1)"
    story = told(
        [
            started("13:00:00", 6001),
            happened("13:30:00", "worker.recycled", pid=6001, signal="SIGTERM", ran_s=1800.0,
                     reason="memory 912M of 900M", next="restart", in_s=0.0),
            started("13:30:00", 6002),
            happened("13:40:00", "worker.oom", pid=6002, reason=oom),
            failed("13:40:00", 1, 0.8, signal="SIGKILL", reason=f"out of memory, {oom}"),
            started("13:40:01", 6003),
        ],
        state="running", pid=6003, since="13:40:01",
    )  # fmt: skip
    assert story.endswith("""\
13:00:00  started  pid 6001, with the daemon
13:30:00  recycle  memory 912M of 900M, after 30m: a fresh one follows
13:30:00  started  pid 6002
13:40:00  failed   killed by SIGKILL from the kernel: out of memory, 2.0G of
                   2.0G (cgroup oom_kill +1)                   failure 1 of 5
13:40:01  started  pid 6003, waited 0.8s of 0.5-1s
""")


def test_a_recycle_with_one_more_first_is_told_in_that_order() -> None:
    """The fresh one starts beside the old one, not with the daemon, and not after it."""

    def recycled(at: str, run: int) -> dict[str, Any]:
        return happened(
            at, "worker.recycled", run=run, pid=6000 + run, ran_s=3.0, reason="age 2s",
            next="restart", in_s=0.0,
        )  # fmt: skip

    story = told(
        [
            started("13:00:00", 6001, run=1), started("13:00:02", 6002, run=2),
            recycled("13:00:03", 1), started("13:00:04", 6003, run=3), recycled("13:00:05", 2),
        ],
        state="running", pid=6003, since="13:00:04",
    )  # fmt: skip
    assert story.endswith("""\
13:00:00  started  pid 6001, with the daemon
13:00:02  started  pid 6002, beside pid 6001
13:00:03  recycle  age 2s, after 3s: a new process had its place
13:00:04  started  pid 6003, beside pid 6002
13:00:05  recycle  age 2s, after 3s: a new process had its place
""")


def test_a_release_that_failed_is_in_the_story_of_the_process_that_runs_on() -> None:
    """And what took over in the end is the worker."""
    asked = started("13:40:00", 6002, run=2, **ANNA)
    rejected = happened("13:40:01", "worker.rejected", run=2, pid=6002, code=3, ran_s=0.9)
    replaced = happened(
        "13:41:03", "worker.stopped", run=1, pid=6001, code=0, ran_s=2463.0, asked="replaced"
    )
    story = told([started("13:00:00", 6001), asked, rejected], state="running", pid=6001,
                 since="13:00:00")  # fmt: skip
    assert "rejected  exit 3 after 0.9s, not ready: the old process runs on" in story
    story = told([asked, replaced], state="running", pid=6002, since="13:40:00")
    assert ": a new process had its place" in story
