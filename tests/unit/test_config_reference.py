"""What is said of each key is what the loader does with it."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config import flat, keys, reference, sockets
from supervisord_lite.config.load import Judged, judge
from supervisord_lite.config.plan import LIVE_SETTINGS, _effect
from supervisord_lite.config.reference import Key
from supervisord_lite.config.spec import Spec
from tests.support.readme import REFERENCE

Load = Callable[[str], Judged]
NAMED = ("config", "environment", "secrets", "sockets")
#: What keys need beside them to mean anything.
BESIDE = {
    "health": 'health.tcp = "127.0.0.1:1"',
    "schedule": 'schedule.cron = "@daily"',
    "recycle": 'recycle.age = "1h"',
    "sockets": 'sockets.http.listen = "unix:/run/x"',
}
OF_WORKERS = [key for group, key in reference.every() if group.table == "worker"]
WITH_DEFAULT = [key for key in OF_WORKERS if key.default]
#: In the file that is shipped: which keys are on together; the first one of each is the reason.
_SCHEDULE = ["schedule.cron", "schedule.every"]
_PLAN = ["schedule.timezone", "schedule.overlap", "schedule.missed"]
_PYTHON = ["python", "interpreter", "preload", "config.batch"]
_ADDRESS, _TABLE = ["sockets.http"], [
    f"sockets.http.{key}" for key in ("listen", "backlog", "fd", "mode", "owner", "group")
]  # fmt: skip
_PROBES = ["health.http", "health.tcp", "health.exec"]
_EXCLUSIVE = {"command", *_SCHEDULE, *_PLAN, *_PYTHON, *_ADDRESS, *_TABLE, *_PROBES}
TOGETHER = (
    ("command", "health.exec", *_ADDRESS),
    ("command", "health.http", *_TABLE),
    (*_PYTHON, "health.tcp", *_TABLE),
    ("command", "schedule.cron", *_PLAN, "health.tcp"),
    ("command", "schedule.every", *_PLAN, "health.tcp"),
)


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Return a function that judges a text as TMP/workers.toml."""

    def load_text(text: str) -> Judged:
        path = tmp_path / "workers.toml"
        path.write_text(text)
        return judge(str(path), environ={}, as_root=True)

    return load_text


def a_spec(loaded: Load, *lines: str) -> Spec:
    text = "\n".join(('[worker.a]\ncommand = ["x"]', *lines))
    (spec,) = loaded(text).configuration.specs
    return spec


def known_to_the_loader() -> set[tuple[str, str]]:
    """Return table and name of every key that the loader reads."""
    found = {("supervisor", key) for key in keys._SUPERVISOR}
    found |= {("control", key) for key in keys._CONTROL}
    for key in keys._WORKER:
        inner = [f"{key}.{name}" for name in keys._INNER.get(key, ())]
        found |= {("worker", name) for name in inner or [f"{key}.NAME" if key in NAMED else key]}
    return found | {("worker", f"sockets.NAME.{key}") for key in sockets._KEYS}


def test_every_key_of_the_loader_is_told_and_no_other() -> None:
    """A key that is built without a text fails here: write it into config/reference.py."""
    told = [(group.table, key.key) for group, key in reference.every()]

    assert set(told) == known_to_the_loader()
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("key", WITH_DEFAULT, ids=lambda key: key.key)
def test_each_default_is_the_one_of_the_loader(loaded: Load, key: Key) -> None:
    """Whoever writes the default into his file changes nothing."""
    table = key.key.partition(".")[0]
    beside = BESIDE.get(table, "")
    lines = f"{reference.example_of(key)}\n"

    assert a_spec(loaded, beside, lines) == a_spec(loaded, beside)


def test_the_defaults_of_the_daemon_are_those_of_the_loader(loaded: Load) -> None:
    """The same for [supervisor] and [control]."""
    worker = '[worker.a]\ncommand = ["x"]\n'
    of_daemon = [(g.table, key) for g, key in reference.every() if g.table != "worker"]
    for table, key in of_daemon:
        if key.default:
            text = f"{worker}[{table}]\n{reference.example_of(key)}\n"
            settings = loaded(text).configuration.settings
            assert settings == loaded(worker).configuration.settings, key


def test_a_value_that_stands_there_by_itself_is_told(loaded: Load) -> None:
    """No key has a default that nobody is told of."""
    untold = [
        flat.dotted(path)
        for path, value in flat.worker_keys(a_spec(loaded)).items()
        if value not in (None, [])
        and path != ("command",)
        and not any(
            reference.default_of(key) != "none" for key in OF_WORKERS if key.key == ".".join(path)
        )
    ]
    assert untold == []


def test_each_effect_is_the_one_of_a_reload(loaded: Load) -> None:
    """live, reopen and restart are as the plan of a reload has them."""
    spec = a_spec(loaded, 'log.stdout = "a/o"', 'log.stderr = "a/e"', 'events = ["*"]')
    other = replace(spec, pool_size=2)
    for key in OF_WORKERS:
        # These three are read into others, and have no value of their own.
        if key.key not in ("extends", "enabled", "environment_file"):
            path = tuple(key.key.split("."))
            assert _effect(path, spec, other) == key.holds, key.key
    daemon = [(g.table, key) for g, key in reference.every() if g.table != "worker"]
    compared = {("supervisor", "include"), ("supervisor", "environment_file")} | LIVE_SETTINGS
    assert {(table, key.key) for table, key in daemon if key.holds == "live"} == compared


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("stop_timeout", ["stop_timeout"]),
        ("backoff", ["backoff.min", "backoff.max", "backoff.factor", "backoff.jitter"]),
        ("environment.PATH", ["environment.NAME"]),
        ("sockets.web.mode", ["sockets.NAME.mode"]),
        ("nofile", ["limits.nofile"]),
        ("jitter", ["backoff.jitter", "recycle.jitter"]),
        ("frobnicate", []),
    ],
)
def test_a_key_is_found_as_people_write_it(word: str, found: list[str]) -> None:
    """By its whole name, its table, its last part, or with a name of one's own in it."""
    assert [key.key for _, key in reference.find(word)] == found


def test_no_process_of_the_daemon_reads_it() -> None:
    """The texts are for people, and cost the resident processes nothing."""
    script = (
        "import sys\n"
        "import supervisord_lite.keeper.loop, supervisord_lite.supervisor.loop\n"
        "import supervisord_lite.scribe.loop, supervisord_lite.config.__main__\n"
        "sys.exit('supervisord_lite.config.reference' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def switched_on(text: str, names: Iterable[str]) -> str:
    """Return the shipped file with these of the exclusive keys on, and all others."""
    wanted = set(names)
    lines = []
    for line in text.splitlines():
        found = re.fullmatch(r"#?([a-z_]+(?:\.\w+)*) = .*", line)
        if found is None:
            lines.append(line)
        elif found[1] in wanted or found[1] not in _EXCLUSIVE:
            lines.append(line.removeprefix("#"))
    return "\n".join(lines) + "\n[worker.base]\nenabled = false\n"


def test_the_shipped_file_is_good_as_it_is() -> None:
    """`check` accepts it: one worker, everything else switched off."""
    judged = judge(str(REFERENCE), environ={}, as_root=True)

    assert [spec.pool for spec in judged.configuration.specs] == ["example"]
    assert set(tomllib.loads(REFERENCE.read_text())["worker"]["example"]) == {"command"}


@pytest.mark.parametrize("names", TOGETHER, ids=lambda names: "+".join(names[:2]))
def test_the_shipped_file_is_good_with_its_keys_switched_on(
    loaded: Load, names: tuple[str, ...]
) -> None:
    """Every line that is switched off can be switched on, as far as keys do not exclude others."""
    specs = loaded(switched_on(REFERENCE.read_text(), names)).configuration.specs

    assert [spec.pool for spec in specs] == ["example"]


def test_no_key_of_the_shipped_file_is_never_switched_on() -> None:
    """The cases above cover the file."""
    shown = {reference.example_of(key).partition(" = ")[0] for key in OF_WORKERS}

    assert {name for names in TOGETHER for name in names} == _EXCLUSIVE
    assert shown >= _EXCLUSIVE
