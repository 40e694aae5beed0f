"""Python targets in the configuration: what is read, and what a reload sees of it."""

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.config.effective import render_effective
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import judge, load
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.show import show
from supervisord_lite.config.spec import (
    Configuration,
    Python,
    Settings,
    Spec,
    spec_from_json,
    to_json,
    to_short_json,
)
from supervisord_lite.supervisor.launch import launch_record, spawn_request

Load = Callable[[str], Configuration]
SETTINGS = Settings("/c.toml", "/state", "/run", None, "/run/control.sock")
HEAD = '[worker.a]\npython = "shop.consumer:Orders"\n'


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that loads a text as workers.toml."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str) -> Configuration:
        Path("workers.toml").write_text(text)
        return load("workers.toml", environ={"SHOP": "memory:", "COUNT": "7"}, as_root=False)

    return load_text


def problems(loaded: Load, text: str) -> list[Problem]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)
    return list(caught.value.problems)


def spec(loaded: Load, lines: str) -> Spec:
    (found,) = loaded(HEAD + lines).specs
    return found


def test_one_line_is_a_worker(loaded: Load) -> None:
    """The interpreter is the daemon's, and ready is when the target runs."""
    found = spec(loaded, "")
    assert found.launch.python == Python("shop.consumer:Orders", sys.executable)
    assert found.launch.argv == ()
    assert found.launch.notify
    assert found.policy.ready_by == "said"


def test_values_arrive_as_they_are(loaded: Load) -> None:
    """Numbers, truth values, lists and tables; a text that comes from a variable stays one."""
    found = spec(
        loaded,
        'config.batch = 50\nconfig.rate = 0.5\nconfig.deep = { a.b = [1, { c = "%i" }], e = {} }\n'
        'config.source = "${SHOP}"\nconfig.count = "${COUNT}"\nconfig.on = true\n',
    )
    assert found.launch.python is not None
    assert json.loads(found.launch.python.config) == {
        "batch": 50, "rate": 0.5, "deep": {"a": {"b": [1, {"c": "%i"}]}, "e": {}},
        "source": "memory:", "count": "7", "on": True,
    }  # fmt: skip
    assert spec_from_json(to_json(found)) == found
    assert spec_from_json(to_short_json(found)) == found


def test_a_relative_interpreter_is_relative_to_its_file(loaded: Load, tmp_path: Path) -> None:
    """A name without a slash is looked up in PATH."""
    for written, meant in (
        (".venv/bin/python", f"{tmp_path}/.venv/bin/python"),
        ("/opt/py/bin/python3.12", "/opt/py/bin/python3.12"),
        ("python3.12", "python3.12"),
    ):
        found = loaded(f'[defaults]\ninterpreter = "{written}"\n{HEAD}').specs[0].launch.python
        assert found is not None
        assert found.interpreter == meant


def test_an_interpreter_in_defaults_leaves_commands_alone(loaded: Load) -> None:
    """It is for those workers that have a target."""
    found = loaded('[defaults]\ninterpreter = "/x"\n[worker.a]\ncommand = "true"\n')
    assert found.specs[0].launch.python is None


@pytest.mark.parametrize(
    ("lines", "line", "column", "message"),
    [
        ('python = "shop.consumer"', 2, 10, 'python: expected "package.module:Target"'),
        ('python = "a:b"\ncommand = "x"', 2, 1, '[worker.a] has "command" and "python"'),
        ('command = "x"\nconfig.a = 1', 3, 1, "config is for Python targets"),
        ('python = "a:b"\nconfig."a-b" = 1', 3, 8, '"a-b" cannot be the name of an argument'),
        ('python = "a:b"\nconfig.day = 2026-01-01', 3, 14, "dates and times are not passed on"),
        ('python = "a:b"\nconfig.x = [1, nan]', 3, 12, "nan is no value"),
        ('python = "a:b"\nready = "fd:3"', 3, 9, "context.ready()"),
        ('python = "a:b"\nconfig = 3', 3, 10, "config: expected a table, got 3"),
        ('python = "a:b"\ninterpreter = ""', 3, 15, "interpreter: must not be empty"),
    ],
)
def test_a_mistake_is_told_at_its_place(
    loaded: Load, lines: str, line: int, column: int, message: str
) -> None:
    """With line and column."""
    (problem,) = problems(loaded, f"[worker.a]\n{lines}\n")
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_a_reload_sees_each_argument(loaded: Load) -> None:
    """Key by key; each needs a new process; a password is not shown."""
    old = spec(loaded, 'config.batch = 50\nconfig.db.password = "one"\nconfig.same = [{ a = 1 }]\n')
    new = spec(
        loaded, 'config.batch = 60\nconfig.db.password = "two"\nconfig.same = [{ a = 1 }]\n'
        'interpreter = "/x/python"\n',
    )  # fmt: skip
    (changed,) = make_plan([old], [new]).changed
    told = [(key.key, key.old, key.new, key.effect) for key in changed.keys]
    assert told == [
        ("interpreter", json.dumps(sys.executable), '"/x/python"', "restart"),
        ("config.batch", "50", "60", "restart"),
        ("config.db.password", "***", "***", "restart"),
    ]
    assert make_plan([old], [old]).is_empty


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        ("", 'ready = "notify"\n', "restart"),
        ("", 'ready = "2s"\n', "live"),
        ('ready = "spawned"\n', "", "live"),
    ],
)
def test_only_its_own_word_needs_another_process(
    loaded: Load, before: str, after: str, effect: str
) -> None:
    """Who says that it is ready is decided when the process starts."""
    (changed,) = make_plan([spec(loaded, before)], [spec(loaded, after)]).changed
    assert [(key.key, key.effect) for key in changed.keys] == [("ready", effect)]


def test_what_is_in_force_can_be_read_again(loaded: Load) -> None:
    """As the same configuration, whatever the values are."""
    text = (
        'config.a = "q\\"${SHOP}$${X}%i\\u007f"\nconfig.b = [{ c = [1, { "d e" = "ü" }] }, {}]\n'
        'config.t = {}\nconfig.n = inf\nconfig.u = { "x=y" = 1, z = 2 }\nconfig.v.w.x = [[]]\n'
        'ready = "notify"\n'
    )
    first = loaded(HEAD + text)
    written = render_effective(first)
    assert "config.b = [{ c = [1, {" in written
    tomllib.loads(written)
    assert loaded(written).specs[0].launch == first.specs[0].launch
    assert loaded(render_effective(loaded(HEAD))).specs[0].policy == loaded(HEAD).specs[0].policy


def test_each_key_is_shown_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hidden."""
    monkeypatch.chdir(tmp_path)
    Path("workers.toml").write_text(HEAD + 'config.token = "x"\nconfig.l = [{ a = 1 }]\n')
    lines = [each.text() for each in show("a", judge("workers.toml", environ={}, as_root=False))]
    assert 'python = "shop.consumer:Orders"' in lines
    assert 'config.token = "***"' in lines
    assert "config.l = [{ a = 1 }]" in lines
    assert f"interpreter = {json.dumps(sys.executable)}" in lines


def test_the_record_of_a_launch_is_made_for_one_instance(loaded: Load, tmp_path: Path) -> None:
    """Texts count instances; what is said goes to the run's own socket."""
    found = spec(
        loaded,
        'pool_size = 3\nconfig.path = ["/data/%i"]\nconfig.port = "%{8000..}"\n'
        'stop_timeout = ["5s", "2s"]\nstop_signal = ["SIGTERM", "SIGINT"]\n'
        'sockets.http = "127.0.0.1:8080"\n',
    )  # fmt: skip
    descriptor, record = launch_record(found, 2, "/run/w/a.2.1")
    assert descriptor == 4
    assert record == {
        "target": "shop.consumer:Orders", "config": {"path": ["/data/2"], "port": "8001"},
        "name": "a-2", "pool": "a", "instance": 2, "directory": str(tmp_path), "ready": "run",
        "notify": "/run/w/a.2.1/notify", "heartbeat_timeout_s": None, "stop_timeout_s": 7.0,
        "sockets": {"http": 3},
    }  # fmt: skip


def test_arguments_stand_in_no_command_line_and_no_environment(loaded: Load) -> None:
    """Both can be read by others."""
    request = spawn_request(spec(loaded, 'config.password = "hunter2"\n'), 1, 1, SETTINGS)
    record = request.pop("python")
    assert isinstance(record, dict)
    assert record["config"] == {"password": "hunter2"}
    assert "hunter2" not in json.dumps(request)
    assert "NOTIFY_SOCKET" not in json.dumps(request)


def test_modules_are_preloaded_in_their_order(loaded: Load) -> None:
    """One, or several, each once."""
    found = spec(loaded, 'preload = ["shop.model", "shop", "shop.model"]\n')
    assert found.launch.python is not None
    assert found.launch.python.preload == ("shop.model", "shop")
    assert spec_from_json(to_json(found)) == found
    assert spec_from_json(to_short_json(found)) == found
    alone = spec(loaded, 'preload = "shop"\n').launch.python
    assert alone is not None
    assert alone.preload == ("shop",)


def test_what_cannot_be_preloaded_is_told(loaded: Load) -> None:
    """No module, or no Python target."""
    (problem,) = problems(loaded, HEAD + 'preload = ["a b"]\n')
    assert 'preload, item 1: expected a module, got "a b"' in problem.message
    (problem,) = problems(loaded, '[worker.a]\ncommand = "sleep 1"\npreload = ["shop"]\n')
    assert "preload is for Python targets" in problem.message
