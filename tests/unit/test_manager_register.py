"""What a manager takes, and what it refuses, before anything runs."""

import functools
import json
import os
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import supervisord_lite
from supervisord_lite import InvalidWorker, Manager, WorkerOptions
from supervisord_lite.config.load import load
from supervisord_lite.config.spec import Spec
from supervisord_lite.core.policy import BackoffPolicy, Policy, Rung
from supervisord_lite.manager import ManagerError
from supervisord_lite.manager.document import document
from supervisord_lite.manager.options import Changes
from supervisord_lite.worker.target import VARIABLE
from tests.support import targets

ITSELF: dict[str, Any] = {}
ITSELF["a"] = ITSELF
LIST_OF_ITSELF: list[Any] = []
LIST_OF_ITSELF.append(LIST_OF_ITSELF)
SETTINGS = {"state_dir": "/x/${HOME}/%i", "runtime_dir": "/x/runtime"}


def specs(manager: Manager, tmp_path: Path) -> dict[str, Spec]:
    """Return what the daemon will make of what was registered."""
    file = tmp_path / "x.toml"
    file.write_text(document(manager._workers, SETTINGS, "/x/control.sock"))
    configuration = load(str(file), environ={"HOME": "/root"}, as_root=False)
    assert configuration.settings.state_dir == "/x/${HOME}/%i"
    return {spec.pool: spec for spec in configuration.specs}


def refused(target: Any, **options: Any) -> str:
    """Return why a worker cannot be registered, with the way out."""
    manager = Manager()
    with pytest.raises(InvalidWorker) as caught:
        manager.register(target, **options)
    assert not manager._workers
    return f"{caught.value} | {caught.value.hint}"


# Options.


def test_gz_01_defaults_are_those_of_the_configuration_file(tmp_path: Path) -> None:
    """Nothing said means what a table with nothing but its command means."""
    manager = Manager()
    manager.register(["/bin/true"], name="web")

    spec = specs(manager, tmp_path)["web"]

    assert spec.policy == Policy()
    assert (spec.pool_size, spec.critical, spec.requires, spec.after) == (1, "no", (), ())
    assert WorkerOptions() == WorkerOptions(
        pool_size=1, critical=False, stable_run_period="30s", max_restarts=5, circuit_window="10m",
        backoff_min="1s", backoff_max="5m", backoff_factor=2, backoff_jitter=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(Changes.__annotations__))
def test_gz_02_each_option_changes_itself_alone_and_options_chain(name: str) -> None:
    """What is not named stays."""
    value: Any = object()
    one = WorkerOptions(max_restarts=9)
    changes: Changes = {name: value}  # type: ignore[misc]
    changed = one.replace(changes).replace({})

    differing = [f.name for f in fields(one) if getattr(one, f.name) != getattr(changed, f.name)]
    assert differing == [name]
    assert getattr(changed, name) is value


def test_options_and_their_changes_have_the_same_names() -> None:
    """Every field can be changed in a call."""
    assert [field.name for field in fields(WorkerOptions)] == list(Changes.__annotations__)


def test_every_option_arrives(tmp_path: Path) -> None:
    """Durations as texts, numbers and timedeltas; ladders as lists; other keys by their names."""
    manager = Manager()
    manager.register("/bin/true", name="db")
    manager.register(
        "/bin/sleep 5 --x '%i'", name="web",
        options=WorkerOptions(pool_size=3, max_restarts=1),
        critical="all", restart="always", ok_exit_codes=[0, 3], ready=0.5, start_timeout="10s",
        run_timeout=timedelta(minutes=2), stop_signal=["SIGINT", "SIGTERM"], stop_timeout=[1, "2s"],
        stop_scope="tree", stable_run_period=5, max_restarts=7, circuit_window=timedelta(hours=1),
        circuit_cooldown="3m", backoff_min=2, backoff_max=20, backoff_factor=3,
        backoff_jitter=False, requires=["db"], after=["db"], directory="/tmp",
        environment={"A": "1", "B": False}, keys={"limits.nofile": 99, "umask": "077"},
    )  # fmt: skip

    web = specs(manager, tmp_path)["web"]

    assert web.policy == Policy(
        restart="always", ok_exit_codes=(0, 3), ready_after_s=0.5, start_timeout_s=10.0,
        run_timeout_s=120.0, stop_ladder=(Rung(2, 1.0), Rung(15, 2.0)), stop_scope="tree",
        stable_run_period_s=5.0, max_restarts=7, circuit_window_s=3600.0,
        circuit_cooldown_s=180.0, backoff=BackoffPolicy(2.0, 20.0, 3.0, jitter=False),
    )  # fmt: skip
    assert (web.pool_size, web.critical) == (3, "all")
    assert (web.requires, web.after) == (("db",), ("db",))
    assert web.launch.argv == ("/bin/sleep", "5", "--x", "%i")
    assert (web.launch.directory, web.launch.umask) == ("/tmp", 0o077)
    assert dict(web.launch.environment) == {"A": "1", "B": None}
    assert [(limit.name, limit.value) for limit in web.launch.rlimits] == [("nofile", 99)]


def test_what_is_not_said_follows_other_keys_as_in_the_file(tmp_path: Path) -> None:
    """A job is not started again by itself, and whoever is asked is ready with a good answer."""
    manager = Manager()
    manager.register("/bin/true", name="job", keys={"schedule.every": "1h"})
    manager.register("/bin/sleep 5", name="web", keys={"health.exec": ["/bin/true"]})
    manager.register("/bin/sleep 5", name="own", keys={"health.exec": ["/bin/true"]}, ready="1s")

    found = specs(manager, tmp_path)

    assert found["job"].policy.restart == "never"
    assert found["web"].policy.ready_by == "health"
    assert found["own"].policy.ready_after_s == 1.0


def test_without_a_directory_it_is_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in its name is no placeholder."""
    folder = tmp_path / "50%i${HOME}"
    folder.mkdir()
    monkeypatch.chdir(folder)
    manager = Manager()
    manager.register(["/bin/true"])

    assert specs(manager, tmp_path)["true"].launch.directory == str(folder).replace("%i", "%%i")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"pool_size": 0}, "pool_size"),
        ({"pool_size": -1}, "pool_size"),
        ({"pool_size": 1025}, "1024"),
        ({"max_restarts": 0}, "max_restarts"),
        ({"stable_run_period": 0}, "stable_run_period"),
        ({"circuit_window": "0s"}, "circuit_window"),
        ({"backoff_min": 0}, "min"),
        ({"backoff_max": -1}, "max"),
        ({"backoff_factor": 0}, "factor"),
        ({"restart": "sometimes"}, '"sometimes"'),
        ({"critical": "any"}, 'true, false or "all"'),
        ({"stop_signal": "TERM"}, 'did you mean "SIGTERM"?'),
        ({"pool_sise": 2}, "did you mean pool_size?"),
        ({"keys": {"pool_sise": 2}}, 'did you mean "pool_size"?'),
        ({"keys": {"umask": object()}}, "object"),
        ({"name": "all"}, '"all" cannot be the name'),
        ({"name": "a b"}, "cannot be the name"),
        ({"name": "é"}, "cannot be the name"),
        ({"name": "\udcff"}, "name: '\\udcff' is not UTF-8"),
        ({"directory": "/\udcff"}, "directory: '/\\udcff' is not UTF-8"),
        ({"environment": {"A": "\udcff"}}, "environment.A: '\\udcff' is not UTF-8"),
        ({"environment": {"\udcff": "x"}}, "environment.\\udcff: '\\udcff' is not UTF-8"),
        ({"requires": ["\udcff"]}, "requires.item 1: '\\udcff' is not UTF-8"),
        ({"environment": {1: "x"}}, "environment maps names to values"),
        ({"environment": None}, "environment maps names to values"),
        ({"pool_size": 10**5000}, "pool_size: got a very large number"),
        ({"keys": {"command": "false"}}, "'command' would be another target"),
        ({"keys": {"python": "a:b"}}, "'python' would be another target"),
        ({"keys": {"pool_size.x": 1}}, "'pool_size' is a value, not a table"),
        ({"keys": {"log": 7}}, "log"),
        ({"keys": {"limits": ITSELF}}, "is too deep"),
        ({"stop_signal": LIST_OF_ITSELF}, "contains itself"),
        ({"keys": [1]}, "keys maps names to values"),
    ],
)
def test_gz_03_04_09_wrong_values_are_refused_and_nothing_is_added(
    options: dict[str, Any], why: str
) -> None:
    """Never ignored, never clamped; the message says which one."""
    assert why in refused(["/bin/true"], **{"name": "web", **options})


def test_a_word_that_is_not_utf_8_is_refused() -> None:
    """As the system hands over a file's name that is none: no file of ours could hold it."""
    assert "command.item 2: 'x\\udcff' is not UTF-8" in refused(["/bin/true", "x\udcff"])
    assert "is not UTF-8" in refused("/bin/true x\udcff")


def test_a_current_folder_that_cannot_be_written_down_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have a name that is not UTF-8, or be gone; with a directory it does not matter."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")
    assert "is not UTF-8" in refused(["/bin/true"])
    folder.rmdir()
    said = refused(["/bin/true"])
    assert "the current folder cannot be found" in said
    assert "directory=" in said
    assert Manager().register(["/bin/true"], directory="/") == "true"
    assert Manager().register(targets.finish, directory="/", config={"file": "x"}) == "finish"


def test_keys_that_options_have_too_are_not_lost(tmp_path: Path) -> None:
    """An environment is that of both; a directory beats the current folder."""
    manager = Manager()
    manager.register(
        ["/bin/true"], environment={"A": "1"}, keys={"environment.B": "2", "directory": "/tmp"}
    )

    launch = specs(manager, tmp_path)["true"].launch

    assert dict(launch.environment) == {"A": "1", "B": "2"}
    assert launch.directory == "/tmp"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"log_level": "warn"}, "'warn' is not a log level | one of: debug, info, warning, error"),
        ({"log_level": ""}, "one of: debug, info, warning, error"),
        ({"log_level": None}, "None is not a log level"),
        ({"state_dir": "/\udcff"}, "state_dir: '/\\udcff' is not UTF-8"),
    ],
)
def test_what_a_manager_cannot_run_with_is_said_when_it_is_made(
    settings: dict[str, Any], why: str
) -> None:
    """Not when it is started."""
    with pytest.raises(ManagerError) as caught:
        Manager(**settings)
    assert why in f"{caught.value} | {caught.value.hint}"


@pytest.mark.parametrize("target", [None, 7, b"/bin/true", object(), {"a": 1}, [1]])
def test_what_is_no_target_at_all_is_refused_as_any_other_mistake(target: Any) -> None:
    """No TypeError from somewhere inside."""
    assert "a worker is a command" in refused(target, name="web")


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Not one error for each attempt."""
    said = refused(["/bin/true"], name="web", pool_size=0, max_restarts=0)
    assert "pool_size" in said
    assert "max_restarts" in said


def test_a_name_is_taken_once() -> None:
    """Two workers of one name are a mistake, not a pool."""
    manager = Manager()
    assert manager.register(["/usr/bin/redis-server"]) == "redis-server"
    with pytest.raises(InvalidWorker, match="there is a worker redis-server already"):
        manager.register(["redis-server"])
    assert manager.register(["redis-server"], name="other") == "other"


def test_a_worker_needs_a_name() -> None:
    """A target from which none can be made must be given one."""
    assert "needs a name" in refused([""])
    assert 'name="web"' in refused([])


# Targets.


def test_python_targets_are_run_by_their_names(tmp_path: Path) -> None:
    """Functions, classes and words; arguments are in the environment, not on a command line."""
    manager = Manager()
    assert manager.register(targets.finish, config={"file": "50%i of ${HOME}"}) == "finish"
    assert manager.register(targets.Runs, config={"file": "x"}) == "Runs"
    assert (
        manager.register("tests.support.targets:crash", name="bad", config={"file": "x"}) == "bad"
    )

    found = specs(manager, tmp_path)

    assert found["finish"].launch.argv[1:] == (
        "-m", "supervisord_lite.worker", "tests.support.targets:finish"
    )  # fmt: skip
    about = json.loads(dict(found["finish"].launch.environment)[VARIABLE] or "")
    assert about["config"] == {"file": "50%i of ${HOME}"}
    assert os.getcwd() in about["path"]
    assert found["Runs"].launch.argv[3] == "tests.support.targets:Runs"
    assert found["bad"].launch.argv[3] == "tests.support.targets:crash"


def _local() -> Callable[[], None]:
    def inside() -> None:
        """Not to be found by name."""

    return inside


@pytest.mark.parametrize(
    ("target", "why", "way_out"),
    [
        (lambda: None, "is a lambda", "at the top of a module"),
        (_local(), "is defined inside a function", "at the top of a module"),
        (functools.partial(targets.finish, "x"), "has no name", "config="),
        (targets.Runs("x").run, "is not what tests.support.targets has", "bound methods"),
        (targets.finish, "missing a required argument: 'file'", ""),
        ([1, 2], "a list of texts", "[1, 2]"),
    ],
)
def test_what_another_process_could_not_find_is_refused(
    target: Any, why: str, way_out: str
) -> None:
    """With the way out, and before anything is started."""
    said = refused(target, name="web")
    assert why in said
    assert way_out in said


def test_config_must_fit_and_be_json() -> None:
    """A wrong keyword is told with the signature; a command has no keywords."""
    said = refused(targets.finish, config={"fil": "x"})
    assert "config does not fit tests.support.targets:finish(file: str) -> None" in said
    assert "not JSON serializable" in refused(targets.finish, config={"file": object()})
    assert "config is for Python targets" in refused(["/bin/true"], config={"a": 1})


def test_requirements_are_judged_when_all_workers_are_known() -> None:
    """Registered in any order; what is missing is told by start, and nothing is started."""
    manager = Manager()
    manager.register(["/bin/true"], name="web", requires=["db"])
    with pytest.raises(InvalidWorker, match="db"):
        manager.start()
    assert not manager.is_running
    manager.stop()


# The package.


def test_the_package_imports_the_library_only_when_it_is_asked_for() -> None:
    """The always-running processes import the package too."""
    stub = Path(supervisord_lite.__file__).with_suffix(".pyi").read_text()
    exported = [name for name in supervisord_lite.__all__ if name != "__version__"]
    assert [line.split()[-1] for line in stub.splitlines() if " as " in line] == exported
    assert all(getattr(supervisord_lite, name) for name in exported)
    with pytest.raises(AttributeError, match="Managr"):
        _ = supervisord_lite.Managr  # type: ignore[attr-defined]
