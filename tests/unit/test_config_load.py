"""A good file means what it says: every key, every default, merging, paths and variables."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import load
from supervisord_lite.config.spec import (
    Configuration,
    Limit,
    LogTarget,
    Settings,
    Spec,
    settings_from_json,
    spec_from_json,
    to_json,
)
from supervisord_lite.core.policy import BackoffPolicy, Policy, Rung

Load = Callable[..., Configuration]
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Return a function that loads a text as TMP/workers.toml."""

    def load_text(text: str, *, environ: Mapping[str, str] | None = None) -> Configuration:
        path = tmp_path / "workers.toml"
        path.write_text(text)
        return load(str(path), environ=environ or {}, as_root=True)

    return load_text


EVERYTHING = """
[supervisor]
state_dir = "state"
runtime_dir = "/run/x"
log_dir = "../log"
log_level = "debug"
log_format = "json"

[control]
path = "c.sock"

[worker.full]
command = "prog --name 'two words' %i"
autostart = false
pool_size = 3
restart = "always"
ok_exit_codes = [0, 3]
ready = "2s"
start_timeout = 90
stop_signal = ["SIGTERM", "SIGQUIT"]
stop_timeout = ["10m", "30s"]
stop_scope = "tree"
stable_run_period = "1m"
max_restarts = 7
circuit_window = "1h"
circuit_cooldown = "5m"
backoff.min = "100ms"
backoff.max = "1s"
backoff.factor = 1.5
backoff.jitter = false
directory = "work-%i"
environment.TEXT = "x"
environment.NUMBER = 8080
environment.GONE = false
environment.EMPTY = ""
umask = 0o027
nice = -5
limits.memory = "2G"
limits.cpu = 1.5
limits.pids = 100
limits.nofile = 65536
limits.core = "unlimited"
limits.stack = "8M"
log.stdout = "out/%i.log"
log.stderr = "null"
log.max_size = 0
log.backups = 3
log.format = "json"
"""


def test_every_key_arrives(loaded: Load, tmp_path: Path) -> None:
    """Each key of the file is in force, and relative paths begin at the folder of the file."""
    configuration = loaded(EVERYTHING)
    assert configuration.settings == Settings(
        config_path=str(tmp_path / "workers.toml"),
        state_dir=str(tmp_path / "state"),
        runtime_dir="/run/x",
        log_dir=str(tmp_path.parent / "log"),
        control_path=str(tmp_path / "c.sock"),
        log_level="debug",
        log_format="json",
    )
    (spec,) = configuration.specs
    assert (spec.pool, spec.pool_size) == ("full", 3)
    assert (spec.origin.file, spec.origin.line) == (str(tmp_path / "workers.toml"), 12)
    assert spec.policy == Policy(
        restart="always",
        ok_exit_codes=(0, 3),
        autostart=False,
        ready_after_s=2.0,
        start_timeout_s=90.0,
        stop_ladder=(Rung(signal.SIGTERM, 600.0), Rung(signal.SIGQUIT, 30.0)),
        stop_scope="tree",
        stable_run_period_s=60.0,
        max_restarts=7,
        circuit_window_s=3600.0,
        circuit_cooldown_s=300.0,
        backoff=BackoffPolicy(min_s=0.1, max_s=1.0, factor=1.5, jitter=False),
    )
    launch = spec.launch
    assert launch.argv == ("prog", "--name", "two words", "%i")
    assert launch.directory == str(tmp_path / "work-%i")
    assert launch.environment == (("TEXT", "x"), ("NUMBER", "8080"), ("GONE", None), ("EMPTY", ""))
    assert (launch.umask, launch.nice, launch.identity) == (0o027, -5, None)
    assert (launch.memory_bytes, launch.cpu_cores, launch.pids) == (2 << 30, 1.5, 100)
    assert launch.rlimits == (Limit("nofile", 65536), Limit("core", None), Limit("stack", 8 << 20))
    assert launch.stdout == LogTarget("file", str(tmp_path / "out/%i.log"))
    assert launch.stderr == LogTarget("null")
    assert (launch.log_max_size_bytes, launch.log_backups) == (0, 3)
    assert launch.log_format == "json"


def test_one_line_is_enough(loaded: Load, tmp_path: Path) -> None:
    """A worker with a command alone has every default of the documentation."""
    environ = {"STATE_DIRECTORY": "/s", "RUNTIME_DIRECTORY": "/r"}
    configuration = loaded('[worker.a]\ncommand = ["prog", ""]\n', environ=environ)
    assert configuration.settings == Settings(
        str(tmp_path / "workers.toml"), "/s", "/r", None, "/r/control/control.sock"
    )
    (spec,) = configuration.specs
    assert spec.policy == Policy()
    assert spec.pool_size == 1
    assert spec.critical == "no"
    assert spec.launch.argv == ("prog", "")
    assert spec.launch.directory == str(tmp_path)
    assert spec.launch.environment == ()
    assert spec.launch.stdout == LogTarget("inherit")
    assert spec.launch.stderr == LogTarget("stdout")
    assert spec.launch.log_max_size_bytes == 50 << 20


def test_an_empty_file_has_no_workers(loaded: Load) -> None:
    """A file without workers is good: the daemon waits for its reload."""
    assert loaded("").specs == ()


def test_specs_stand_in_file_order(loaded: Load) -> None:
    """Workers start in the order in which they were written."""
    text = "".join(f'[worker.{name}]\ncommand = ["x"]\n' for name in "cab")
    assert [spec.pool for spec in loaded(text).specs] == ["c", "a", "b"]


def test_a_log_folder_gives_every_worker_its_file(loaded: Load) -> None:
    """With log_dir output goes to NAME.log, of a pool to one file per instance."""
    one = '[worker.one]\ncommand = ["x"]\n[worker.many]\ncommand = ["x"]\npool_size = 2\n'
    by_key = loaded(f'[supervisor]\nlog_dir = "/l"\n{one}')
    by_systemd = loaded(one, environ={"LOGS_DIRECTORY": "/l"})
    for configuration in (by_key, by_systemd):
        targets = [spec.launch.stdout for spec in configuration.specs]
        assert targets == [LogTarget("file", "/l/one.log"), LogTarget("file", "/l/many-%i.log")]


def test_tables_merge_and_everything_else_replaces(loaded: Load) -> None:
    """A worker's own key beats the one of [defaults]; inside tables key by key."""
    (spec,) = loaded(
        '[defaults]\nlog.max_size = "1M"\nlog.stdout = "/d.log"\nenvironment.A = "d"\n'
        'environment.B = "d"\nok_exit_codes = [1, 2]\nbackoff = { min = "2s", max = "4s" }\n'
        'pool_size = 2\n[worker.a]\ncommand = ["x"]\nlog = "/own-%i.log"\nenvironment.B = "own"\n'
        'ok_exit_codes = [3]\nbackoff.max = "9s"\n'
    ).specs
    assert spec.pool_size == 2
    assert spec.launch.stdout == LogTarget("file", "/own-%i.log")
    assert spec.launch.log_max_size_bytes == 1 << 20
    assert spec.launch.environment == (("A", "d"), ("B", "own"))
    assert spec.policy.ok_exit_codes == (3,)
    assert (spec.policy.backoff.min_s, spec.policy.backoff.max_s) == (2.0, 9.0)


def test_a_short_log_in_defaults_merges_too(loaded: Load) -> None:
    """`log = "null"` in [defaults] is log.stdout there: a worker may add log.stderr."""
    (spec,) = loaded(
        '[defaults]\nlog = "null"\n[worker.a]\ncommand = ["x"]\nlog.stderr = "inherit"\n'
    ).specs
    assert (spec.launch.stdout.kind, spec.launch.stderr.kind) == ("null", "inherit")


def test_one_file_for_both_outputs_keeps_their_order(loaded: Load) -> None:
    """stderr named the same as stdout is stderr following stdout: one writer."""
    (spec,) = loaded(
        '[worker.a]\ncommand = ["x"]\nlog.stdout = "x.log"\nlog.stderr = "./x.log"\n'
    ).specs
    assert spec.launch.stderr == LogTarget("stdout")


def test_a_ladder_in_defaults_goes_with_a_worker_s_own_waits(loaded: Load) -> None:
    """Lists are judged together only when a worker has both."""
    (spec,) = loaded(
        '[defaults]\nstop_signal = ["SIGINT", "SIGTERM"]\n'
        '[worker.a]\ncommand = ["x"]\nstop_timeout = ["1s", "2s"]\n'
    ).specs
    assert spec.policy.stop_ladder == (Rung(signal.SIGINT, 1.0), Rung(signal.SIGTERM, 2.0))


def test_spawned_is_ready_at_once(loaded: Load) -> None:
    """`ready = "spawned"` waits for nothing."""
    (spec,) = loaded('[worker.a]\ncommand = ["x"]\nready = "spawned"\n').specs
    assert spec.policy.ready_after_s == 0.0


@pytest.mark.parametrize(
    ("line", "notify", "ready_fd", "heartbeat_timeout_s", "ready_by"),
    [
        ('ready = "notify"', True, None, None, "said"),
        ('ready = "fd:4"', False, 4, None, "said"),
        ('heartbeat_timeout = "30s"', True, None, 30.0, "alive"),
        ('ready = "1s"', False, None, None, "alive"),
    ],
)
def test_a_worker_that_speaks_gets_a_voice(
    loaded: Load,
    line: str,
    notify: bool,
    ready_fd: int | None,
    heartbeat_timeout_s: float | None,
    ready_by: str,
) -> None:
    """A socket where it says ready or alive, a pipe where it writes a newline, else nothing."""
    (spec,) = loaded(f'[worker.a]\ncommand = ["x"]\n{line}\n').specs
    launch = spec.launch
    assert (launch.notify, launch.ready_fd) == (notify, ready_fd)
    assert (launch.heartbeat_timeout_s, spec.policy.ready_by) == (heartbeat_timeout_s, ready_by)


def test_a_voice_needs_a_place_that_can_be_named(tmp_path: Path) -> None:
    """A path of a socket has an end; and a pipe carries no heartbeat."""
    path = tmp_path / "x.toml"
    folder = "/run/" + 80 * "x"
    path.write_text(
        f'[supervisor]\nruntime_dir = "{folder}"\n[control]\npath = "/run/c.sock"\n'
        '[worker.a]\ncommand = ["x"]\nready = "notify"\n'
        '[worker.b]\ncommand = ["x"]\nready = "fd:3"\nheartbeat_timeout = "1s"\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        load(str(path), environ={}, as_root=True)
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    assert [line for line, _ in told] == [7, 10, 11]
    assert any("runtime_dir is too long" in message for _, message in told)
    assert any("needs the notification socket" in message for _, message in told)


def test_variables_come_from_the_daemon_and_its_file(loaded: Load, tmp_path: Path) -> None:
    """${NAME} works in every text; environment_file beats the daemon's own environment."""
    (tmp_path / "x.env").write_text("A=file\nB=file\n")
    configuration = loaded(
        '[supervisor]\nenvironment_file = "${E}.env"\nstate_dir = "/${A}"\n'
        '[worker.a]\ncommand = ["${B}", "${C:-c}", "$${D}"]\nlog.stdout = "/${A}.log"\n',
        environ={"A": "daemon", "E": "x"},
    )
    (spec,) = configuration.specs
    assert configuration.settings.state_dir == "/file"
    assert spec.launch.argv == ("file", "c", "${D}")
    assert spec.launch.stdout.path == "/file.log"


def test_a_worker_s_files_come_before_its_own_variables(loaded: Load, tmp_path: Path) -> None:
    """Later files beat earlier ones, environment.* beats all, and a "-" file may be missing."""
    (tmp_path / "1.env").write_text("A=1\nB=1\nC=1\nP=50%i\n")
    (tmp_path / "2.env").write_text("B=2\nC=2\n")
    (spec,) = loaded(
        '[worker.a]\ncommand = ["x"]\nenvironment.C = "own"\n'
        'environment_file = ["1.env", "-none.env", "2.env"]\n'
    ).specs
    # What stands in such a file is no text of ours: %i in a password stays.
    expected = {"A": "1", "B": "2", "C": "own", "P": "50%%i"}
    assert dict(spec.launch.environment) == expected


def test_a_user_brings_home_and_name(loaded: Load) -> None:
    """`user` sets HOME, USER, LOGNAME and SHELL; the worker's own keys beat them."""
    (spec,) = loaded(
        '[worker.a]\ncommand = ["x"]\nuser = "root"\nenvironment.HOME = "/elsewhere"\n'
    ).specs
    environment = dict(spec.launch.environment)
    assert (environment["HOME"], environment["USER"]) == ("/elsewhere", "root")
    assert environment["LOGNAME"] == "root"
    assert environment["SHELL"]
    identity = spec.launch.identity
    assert identity is not None
    assert (identity.uid, identity.gid, identity.user) == (0, 0, "root")
    assert 0 in identity.groups


def test_a_group_alone_keeps_the_user(loaded: Load) -> None:
    """`group` changes the group and nothing of the environment."""
    (spec,) = loaded('[worker.a]\ncommand = ["x"]\ngroup = 0\n').specs
    assert spec.launch.environment == ()
    assert spec.launch.identity is not None
    assert (spec.launch.identity.uid, spec.launch.identity.gid) == (os.geteuid(), 0)


def test_naming_oneself_needs_no_root(tmp_path: Path) -> None:
    """A user's daemon may say `user` as long as it is that user."""
    path = tmp_path / "x.toml"
    path.write_text(f'[worker.a]\ncommand = ["x"]\nuser = {os.geteuid()}\ngroup = {os.getegid()}\n')
    (spec,) = load(str(path), environ={}, as_root=False).specs
    assert spec.launch.identity is None
    assert "HOME" in dict(spec.launch.environment)


def test_a_folder_with_a_per_cent_sign_stays_itself(tmp_path: Path) -> None:
    """A configuration in a folder named %i runs its workers there."""
    folder = tmp_path / "%i"
    folder.mkdir()
    path = folder / "x.toml"
    path.write_text('[supervisor]\nlog_dir = "."\n[worker.a]\ncommand = ["x"]\n')
    configuration = load(str(path), environ={}, as_root=True)
    (spec,) = configuration.specs
    assert spec.launch.directory == str(tmp_path / "%%i")
    assert spec.launch.stdout.path == str(tmp_path / "%%i/a.log")
    assert configuration.settings.log_dir == str(folder)


def test_a_keyword_in_another_table_is_that_table_s(loaded: Load) -> None:
    """An environment variable may be called like a key of ours when it is written dotted."""
    (spec,) = loaded('[worker.a]\ncommand = ["x"]\nenvironment.user = "u"\n').specs
    assert spec.launch.environment == (("user", "u"),)


def test_the_example_is_good() -> None:
    """The file that is shipped to try things on is accepted."""
    path = CHECKOUT / "config/demo.toml"
    assert load(str(path), environ={}, as_root=False).specs


def test_json_loses_nothing(loaded: Load) -> None:
    """What the daemon keeps of a configuration is the configuration."""
    text = '[worker.b]\ncommand = ["ü", "\\u0001"]\nuser = "root"\n'
    configuration = loaded(EVERYTHING + text)
    assert settings_from_json(to_json(configuration.settings)) == configuration.settings
    for spec in configuration.specs:
        assert spec_from_json(to_json(spec)) == spec
        assert "\n" not in to_json(spec)


def test_an_older_json_gets_the_defaults_of_what_it_lacks() -> None:
    """A state saved before a key existed is read with that key's default."""
    text = (
        '{"pool":"a","pool_size":1,"policy":{"max_restarts":3},"origin":{"file":"x","line":1},'
        '"launch":{"argv":["x"],"directory":"/"}}'
    )
    spec: Spec = spec_from_json(text)
    assert spec.policy == Policy(max_restarts=3)
    assert spec.launch.umask == 0o022
    assert (spec.requires, spec.after, spec.critical, spec.singleton) == ((), (), "no", False)


def test_json_loses_nothing_of_what_a_worker_is_to_others(loaded: Load) -> None:
    """Who requires whom, and whose end ends everything, survives a crash as it was."""
    (spec,) = loaded('[worker.a]\ncommand = ["x"]\n').specs
    tied = replace(spec, requires=("db",), after=("log", "b"), critical="all", singleton=True)
    assert spec_from_json(to_json(tied)) == tied


def test_a_log_path_has_a_length_that_a_file_can_have(tmp_path: Path) -> None:
    """A path that no file system takes is refused where it is written."""
    file = tmp_path / "c.toml"
    file.write_text(f'[worker.a]\ncommand = ["true"]\nlog.stdout = "/{"x/" * 2000}a.log"\n')

    with pytest.raises(ConfigurationError, match="longer than 3000 bytes"):
        load(str(file), environ={}, as_root=True)
