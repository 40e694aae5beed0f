"""A plan as people read it."""

from typing import Any

from supervisord_lite.cli.reload import lines_of


def a_change(pool: str, *keys: dict[str, Any], effect: str = "live") -> dict[str, Any]:
    return {"pool": pool, "processes": 2, "effect": effect, "keys": keys, "origin": "x.toml:3"}


def a_key(
    key: str, old: str | None, new: str | None, effect: str | None = "live"
) -> dict[str, Any]:
    return {"key": key, "old": old, "new": new, "effect": effect}


PLAN: dict[str, Any] = {
    "changed": True,
    "added": [a_change("media-crop")],
    "modified": [
        a_change("celery", a_key("environment.LEVEL", '"INFO"', '"DEBUG"', "restart"),
                 effect="restart") | {"at_once": 4},
        a_change("web", a_key("stop_timeout", "30s", "45s"), a_key("run_timeout", None, "5m"))
        | {"alive": 2},
        a_change("beat", a_key("nice", "0", "1", "restart"), a_key("pool_size", "1", "2"),
                 a_key("environment.TOKEN", "***", "***", "restart"), effect="restart"),
    ],
    "removed": [{**a_change("newsletter"), "processes": 1}],
    "kept": ["a", "b"],
    "daemon": [],
    "started": 2, "restarted": 9, "stopped": 1, "left_alone": 48,
}  # fmt: skip


def test_a_plan_has_a_line_for_each_worker_and_the_totals() -> None:
    """What comes, what changes and how, what goes, what stays; names in one column."""
    assert lines_of(PLAN, is_dry=True) == [
        "+ media-crop 2 new processes   x.toml:3",
        '~ celery     restart, 4 at a time: environment.LEVEL "INFO" -> "DEBUG"',
        "             x.toml:3",
        "~ web        live, 2 pids kept: stop_timeout 30s -> 45s",
        "             run_timeout unset -> 5m",
        "             x.toml:3",
        "~ beat       restart: nice 0 -> 1 (restart)",
        "             pool_size 1 -> 2 (live)",
        "             environment.TOKEN has changed (restart)",
        "             x.toml:3",
        "- newsletter stop 1 process",
        "= 2 workers unchanged",
        "",
        "Would start 2, restart 9, stop 1 and leave 48 processes alone.",
    ]
    assert lines_of(PLAN, is_dry=False)[-1] == (
        "Starting 2, restarting 9, stopping 1 and leaving 48 processes alone."
    )


def test_a_plan_keeps_to_the_width_of_a_terminal() -> None:
    """Long values are folded below their key, and control characters are not obeyed."""
    change = a_change("w" * 30, a_key("command", '["\x1b[31m"]', "[" + "x, " * 60 + "]"))
    lines = lines_of({**PLAN, "added": [], "removed": [], "modified": [change]}, is_dry=True)
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_worker_without_detail_is_named() -> None:
    """A plan that is too large for an answer has names only."""
    changes = [
        {**a_change("web", effect="restart"), "origin": "", "at_once": 4},
        {**a_change("db"), "origin": ""},
    ]
    added = [{**a_change("new"), "origin": ""}]
    lines = lines_of({"changed": True, "added": added, "modified": changes}, is_dry=True)
    assert lines[:-2] == ["+ new 2 new processes", "~ web restart, 4 at a time", "~ db  live"]


def test_nothing_to_do_is_said_in_one_word() -> None:
    """Whoever reads the last line knows."""
    nothing = {"changed": False, "kept": ["a"]}
    assert lines_of(nothing, is_dry=True) == ["= 1 worker unchanged", "", "Nothing would change."]
    assert lines_of(nothing, is_dry=False)[-1] == "Nothing has changed."


def test_keys_of_the_daemon_are_named_apart() -> None:
    """Nobody waits for what needs a restart of the daemon."""
    keys = [a_key("control.path", '"/a"', '"/b"', None), a_key("control.admin", "[]", '["anna"]')]
    assert lines_of({"changed": True, "daemon": keys}, is_dry=False)[:3] == [
        '~ control.admin [] -> ["anna"] (live)',
        "! needs a restart of the daemon, and is not in force until then:",
        '  control.path "/a" -> "/b"',
    ]
