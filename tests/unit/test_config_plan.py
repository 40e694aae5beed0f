"""What a reload would change, key by key, and what that does to processes that run."""

from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.plan import KeyChange, make_plan
from supervisord_lite.config.secrecy import HIDDEN, secrets_of
from supervisord_lite.config.spec import Grant, Identity, LogTarget, Origin, Spec
from supervisord_lite.core.policy import Rung
from tests.support.supervisor import SETTINGS, a_spec

FILE = LogTarget("file", "/log/web.log")
JOURNAL = LogTarget("journal")
SHOP = Identity(1000, 1000, (1000,), "shop", "/home/shop", "/bin/sh")


def changed(old: Spec, new: Spec) -> tuple[KeyChange, ...]:
    """Return the keys that change; everything else of the plan must be empty."""
    plan = make_plan([old], [new])
    assert (plan.added, plan.removed, plan.daemon) == ((), (), ())
    return plan.changed[0].keys if plan.changed else ()


def with_launch(**launch: Any) -> Spec:
    return a_spec("web", launch=launch)


def test_added_removed_changed_and_kept_are_told_apart() -> None:
    """Every worker is in one of the four groups, in the order of the file."""
    old = [a_spec("a"), a_spec("b"), a_spec("c")]
    new = [a_spec("d"), a_spec("c", max_restarts=9), a_spec("a")]
    plan = make_plan(old, new)
    assert [spec.pool for spec in plan.added] == ["d"]
    assert [spec.pool for spec in plan.removed] == ["b"]
    assert [change.new.pool for change in plan.changed] == ["c"]
    assert plan.kept == ("a",)
    assert not plan.is_empty


@pytest.mark.parametrize(
    ("old", "new", "key", "before", "after", "effect"),
    [
        (
            a_spec("web", stop_ladder=(Rung(15, 30.0),)),
            a_spec("web", stop_ladder=(Rung(15, 45.0),)),
            "stop_timeout", "30s", "45s", "live",
        ),
        (a_spec("web"), a_spec("web", 3), "pool_size", "1", "3", "live"),
        (a_spec("web"), a_spec("web", run_timeout_s=1.5), "run_timeout", None, "1.5s", "live"),
        (
            a_spec("web", start_timeout_s=0.3), a_spec("web", start_timeout_s=1 / 3),
            "start_timeout", "300ms", "0.333333s", "live",
        ),
        (a_spec("web"), with_launch(nice=3), "nice", "0", "3", "restart"),
        (
            replace(a_spec("web"), events=("worker.*",)), replace(a_spec("web"), events=("*",)),
            "events", '["worker.*"]', '["*"]', "live",
        ),
        (
            replace(a_spec("web"), events=("*",)), a_spec("web"),
            "events", '["*"]', "[]", "restart",
        ),
        (
            a_spec("web"),
            a_spec("web", ready_by="said", launch={"notify": True}),
            "ready", "1s", "notify", "restart",
        ),
        (
            a_spec("web", ready_by="said", launch={"notify": True}),
            a_spec("web", ready_after_s=3.0, launch={"notify": True}),
            "ready", "notify", "3s", "live",
        ),
        (
            with_launch(notify=True, heartbeat_timeout_s=30.0),
            with_launch(notify=True, heartbeat_timeout_s=5.0),
            "heartbeat_timeout", "30s", "5s", "restart",
        ),
        (
            with_launch(environment=(("LEVEL", "INFO"),)),
            with_launch(environment=(("LEVEL", "DEBUG"),)),
            "environment.LEVEL", '"INFO"', '"DEBUG"', "restart",
        ),
        (
            with_launch(environment=(("a b", "x"),)), a_spec("web"),
            'environment."a b"', '"x"', None, "restart",
        ),
        (
            with_launch(environment=(("DB_PASSWORD", "x"),)),
            with_launch(environment=(("DB_PASSWORD", "y"),)),
            "environment.DB_PASSWORD", HIDDEN, HIDDEN, "restart",
        ),
        (
            with_launch(stdout=FILE), with_launch(stdout=LogTarget("file", "/log/other.log")),
            "log.stdout", '"/log/web.log"', '"/log/other.log"', "reopen",
        ),
        (
            with_launch(stdout=FILE), with_launch(stdout=FILE, log_backups=3),
            "log.backups", "10", "3", "reopen",
        ),
        (a_spec("web"), with_launch(log_backups=3), "log.backups", "10", "3", "live"),
        (
            with_launch(stdout=FILE), a_spec("web"),
            "log.stdout", '"/log/web.log"', '"inherit"', "restart",
        ),
        (
            with_launch(stdout=FILE), with_launch(stdout=JOURNAL),
            "log.stdout", '"/log/web.log"', '"journal"', "reopen",
        ),
        (
            with_launch(stdout=JOURNAL), with_launch(stdout=FILE),
            "log.stdout", '"journal"', '"/log/web.log"', "reopen",
        ),
        (
            with_launch(stdout=JOURNAL), a_spec("web"),
            "log.stdout", '"journal"', '"inherit"', "restart",
        ),
        (
            a_spec("web"), with_launch(stdout=JOURNAL),
            "log.stdout", '"inherit"', '"journal"', "restart",
        ),
        (
            with_launch(stdout=JOURNAL), with_launch(stdout=JOURNAL, log_level_prefix=False),
            "log.level_prefix", "true", "false", "reopen",
        ),
        (
            with_launch(stdout=FILE),
            with_launch(stdout=FILE, stderr=LogTarget("file", "/log/e.log")),
            "log.stderr", None, '"/log/e.log"', "restart",
        ),
    ],
)  # fmt: skip
def test_a_key_changes_as_the_file_names_it(
    old: Spec, new: Spec, key: str, before: str | None, after: str | None, effect: Any
) -> None:
    """Old, new and what it does to a process that runs; values that may be secret are hidden."""
    assert changed(old, new) == (KeyChange(key, before, after, effect),)


@pytest.mark.parametrize("name", ["BROKER_URI", "erlang_cookie", "AWS_CREDENTIALS", "PRIVATE_PEM"])
def test_a_variable_whose_name_speaks_of_a_secret_is_hidden(name: str) -> None:
    """Addresses may carry passwords; cookies and private parts are secrets in themselves."""
    (key,) = changed(
        with_launch(environment=((name, "x"),)), with_launch(environment=((name, "y"),))
    )
    assert (key.old, key.new) == (HIDDEN, HIDDEN)


def test_secrets_of_the_daemon_are_hidden_wherever_they_stand() -> None:
    """What ${DB_PASSWORD} has brought into a command, a path or a variable, before and after."""
    old, new = (
        with_launch(
            argv=("run", f"--pw={password}", *password.split()),
            stdout=LogTarget("file", f"/log/{password}.log"),
            environment=(("DSN_FILE", password), ("WHERE", f"db:{password}@h"), ("X", "abc")),
        )
        for password in ("hunter2 old", "tiger")
    )
    new = replace(new, launch=replace(new.launch, directory="/abc"))
    settings = (
        replace(SETTINGS, secrets=secrets_of({"DB_PASSWORD": "hunter2 old", "API_KEY": "abc"})),
        replace(SETTINGS, secrets=secrets_of({"DB_PASSWORD": "tiger", "HOME": "/abc"})),
    )
    (change,) = make_plan([old], [new], settings).changed
    shown = {key.key: (key.old, key.new) for key in change.keys}
    assert shown == {
        "command": ('["run", "--pw=***", "***", "old"]', '["run", "--pw=***", "***"]'),
        "directory": ('"/"', '"/abc"'),
        "environment.DSN_FILE": (HIDDEN, HIDDEN),
        "environment.WHERE": ('"db:***@h"', '"db:***@h"'),
        "log.stdout": ('"/log/***.log"', '"/log/***.log"'),
    }
    moved = replace(settings[1], log_dir="/log/hunter2", runtime_dir="/run/tiger")
    (live,) = (key for key in make_plan([], [], (settings[0], moved)).daemon if key.effect)
    assert live.new == '"/log/***"'


def test_a_long_value_is_shown_by_its_ends() -> None:
    """Who wants to know all of it reads the file; an answer has to hold the whole plan."""
    old = with_launch(environment=(("X", "a" * 60_000),))
    (key,) = changed(old, with_launch(environment=(("X", "b" * 180),)))
    assert key.old == f'"{"a" * 59}… (60,002 characters) …{"a" * 59}"'
    assert key.new == f'"{"b" * 59}… (182 characters) …{"b" * 59}"'
    (key,) = changed(old, with_launch(environment=(("X", "b" * 178),)))
    assert key.new == f'"{"b" * 178}"'
    groups = tuple(range(10_000))
    (key,) = changed(with_launch(identity=SHOP), with_launch(identity=replace(SHOP, groups=groups)))
    assert key.new is not None
    assert len(key.new) < 180


def test_the_strongest_effect_is_that_of_the_worker() -> None:
    """One key that needs a new process is enough."""
    old = with_launch(stdout=FILE)
    new = replace(old, launch=replace(old.launch, log_backups=1), pool_size=2)
    assert make_plan([old], [new]).changed[0].effect == "reopen"
    new = replace(new, launch=replace(new.launch, argv=("false",)))
    assert make_plan([old], [new]).changed[0].effect == "restart"


def test_an_edit_that_changes_no_value_changes_nothing() -> None:
    """Another line, another file, another order of variables: every process stays."""
    old = with_launch(environment=(("A", "1"), ("B", "2")))
    new = replace(
        old,
        origin=Origin("y.toml", 99),
        launch=replace(old.launch, environment=(("B", "2"), ("A", "1"))),
    )
    assert make_plan([old], [new], (SETTINGS, SETTINGS)).is_empty


def test_another_account_behind_the_same_name_is_a_change() -> None:
    """A worker that runs as somebody who was given a group runs with it only when started anew."""
    (change,) = changed(
        with_launch(identity=SHOP), with_launch(identity=replace(SHOP, groups=(1000, 33)))
    )
    assert (change.key, change.effect) == ("user", "restart")
    assert change.new == '"shop" (uid 1000, gid 1000, groups 1000 33)'


def test_keys_of_the_daemon_need_its_restart() -> None:
    """They are named, so that nobody waits for them to take effect."""
    plan = make_plan([], [], (SETTINGS, replace(SETTINGS, state_dir="/other", log_level="debug")))
    assert plan.daemon == (
        KeyChange("supervisor.state_dir", '"/state"', '"/other"', None),
        KeyChange("supervisor.log_level", '"info"', '"debug"', None),
    )
    assert not plan.is_empty


def test_some_keys_of_the_daemon_hold_at_once() -> None:
    """Who may do what, and where the logs of workers go, need no restart of anything."""
    plan = make_plan([], [], (SETTINGS, replace(SETTINGS, admin=(Grant("anna", 7),))))
    assert plan.daemon == (KeyChange("control.admin", "[]", '["anna"]', "live"),)
