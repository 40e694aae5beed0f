"""The written configuration in force is the configuration in force: it loads to the same specs."""

import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from supervisord_lite.base.record import replace
from supervisord_lite.config.effective import render_effective, write_effective
from supervisord_lite.config.load import load
from supervisord_lite.config.spec import Configuration, Origin

pytestmark = pytest.mark.slow

TEXT = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_characters="\0"),
        st.sampled_from(["$", "{", "}", "%", "i", '"', "'", "\\", "\n", "\x7f", "\t", "=", "."]),
    ),
    min_size=1,
    max_size=8,
).filter(lambda text: text.strip() != "")
DURATION = st.one_of(
    st.sampled_from(["1ms", "1s", "90s", "1h30m", "1d", "1.5s", "0.1s"]).map(lambda d: f'"{d}"'),
    st.floats(0.001, 1e8).map(repr),
)
FLAG = st.sampled_from(["true", "false"])
NAME = st.sampled_from(["A", "LONG_NAME", '"a b"', '"é"', '"x.y"', '"q\\""', "HOME", "LOGNAME"])
WORD = TEXT.map(lambda text: quoted(text))


def quoted(text: str) -> str:
    """Return *text* as TOML, with no variable in it."""
    escaped = "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'.replace("\\U00000024\\U0000007b", "\\U00000024\\U00000024\\U0000007b")


def optional(key: str, value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), value.map(lambda text: f"{key} = {text}\n"))


def lists(items: st.SearchStrategy[str], least: int = 0) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=least, max_size=3).map(lambda found: f"[{', '.join(found)}]")


LADDER = st.integers(2, 4).flatmap(
    lambda n: st.tuples(
        st.lists(
            st.sampled_from(['"SIGINT"', '"SIGRTMIN+3"', '"SIGRTMAX"']), min_size=n, max_size=n
        ),
        st.lists(DURATION, min_size=n, max_size=n),
    ).map(lambda s: f"stop_signal = [{', '.join(s[0])}]\nstop_timeout = [{', '.join(s[1])}]\n")
)
# "#" becomes the worker's name: no two may write to one file.
FILE = TEXT.map(lambda text: f'"/log/#{quoted(text.replace("/", "_"))[1:-1]}-%i"')
KEYS = st.tuples(
    optional("autostart", FLAG),
    optional("capabilities", lists(st.sampled_from(['"KILL"', '"CAP_CHOWN"', '"CAP_BPF"']))),
    optional("no_new_privs", FLAG),
    optional("critical", st.sampled_from(["true", '"all"', "false"])),
    optional("restart", st.sampled_from(['"always"', '"never"', '"on-failure"'])),
    optional("ok_exit_codes", lists(st.integers(0, 255).map(str))),
    optional("ready", st.sampled_from(['"spawned"', '"exit"', '"200ms"', "0.25"])),
    optional("start_timeout", st.sampled_from(["60", '"2m"', "7.125"])),
    optional("run_timeout", DURATION),
    st.one_of(LADDER, optional("stop_timeout", DURATION)),
    optional("stop_scope", st.sampled_from(['"tree"', '"leader"'])),
    optional("max_restarts", st.integers(1, 1000).map(str)),
    optional("circuit_cooldown", DURATION),
    optional("backoff.factor", st.floats(1, 1000).map(repr)),
    optional("backoff.jitter", FLAG),
    optional("recycle.memory", st.sampled_from(['"1M"', "1000000"])),
    optional("recycle.runs", st.integers(1, 10**9).map(str)),
    st.sampled_from(
        [
            "",
            'recycle.age = "24h"\n',
            "recycle.age = 3.5\nrecycle.jitter = true\n",
            'recycle.age = "1m"\nrecycle.jitter = "2500ms"\n',
        ]
    ),
    optional("directory", WORD),
    optional("umask", st.integers(0, 0o777).map(lambda mask: f'"{mask:03o}"')),
    optional("nice", st.integers(-20, 19).map(str)),
    optional("user", st.sampled_from(['"root"', "0"])),
    optional("group", st.sampled_from(['"root"', "0"])),
    optional("limits.memory", st.sampled_from(['"1.5G"', "4194305"])),
    optional("limits.cpu", st.floats(0.01, 4096).map(repr)),
    optional("limits.stack", st.sampled_from(['"8M"', "8191", '"unlimited"'])),
    optional("limits.nofile", st.sampled_from(['"unlimited"', "10"])),
    optional("log.stdout", st.one_of(FILE, st.sampled_from(['"null"', '"inherit"']))),
    optional("log.stderr", st.sampled_from(['"null"', '"inherit"'])),
    optional("log.max_size", st.sampled_from(["0", '"1G"'])),
    optional("events", lists(st.sampled_from(['"worker.tripped"', '"worker.*"', '"*"']))),
    optional("operators", lists(st.sampled_from(['"@root"', '"root"', '"*"']))),
    st.dictionaries(NAME, st.one_of(WORD, st.sampled_from(["false", "7", '""'])), max_size=3).map(
        lambda found: "".join(f"environment.{name} = {value}\n" for name, value in found.items())
    ),
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    supervisor = draw(
        st.tuples(
            optional("log_dir", WORD.map(lambda w: w)),
            optional("log_format", st.sampled_from(['"json"', '"text"'])),
        )
    )
    parts = ["[supervisor]\nstate_dir = 's'\n", *supervisor, "[control]\n"]
    parts.append(draw(optional("read", lists(st.sampled_from(['"*"', '"@root"'])))))
    for name in draw(st.sets(st.sampled_from(["a", "b", "c_1", "D-x"]), max_size=3)):
        parts.append(f"[worker.{name}]\ncommand = {draw(lists(WORD, least=1))}\n")
        parts += [line.replace("#", name) for line in draw(KEYS)]
        parts.append(draw(st.sampled_from(["", "pool_size = 3\n"])))
    return "".join(parts)


def without_places(configuration: Configuration) -> Configuration:
    specs = tuple(replace(spec, origin=Origin("", 0)) for spec in configuration.specs)
    return Configuration(replace(configuration.settings, config_path=""), specs)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(documents())
@example("")
@example("[worker.a]\ncommand = ['${A}', '$${A}', '$$${A}', '%%i']\nuser = 0\n")
@example("[defaults]\nafter = 'a'\n[worker.a]\ncommand = 'x'\n[worker.b]\nextends = 'a'\n")
def test_what_is_written_loads_to_the_same(text: str) -> None:
    """Whatever a file says, the written form says the same, and is in the house style."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.toml")
        path.write_text(text)
        environ = {"A": "${B} %i é"}
        configuration = load(str(path), environ=environ, as_root=True)
        written = Path(folder, "effective.toml")
        written.write_text(render_effective(configuration))
        again = load(str(written), environ=environ, as_root=True)
        assert without_places(again) == without_places(configuration)
        assert render_effective(again).splitlines()[3:] == written.read_text().splitlines()[3:]
        headers = [line for line in written.read_text().splitlines() if line.startswith("[")]
        assert len(headers) == 2 + len(configuration.specs)


def test_it_is_written_as_a_whole_and_for_its_owner(tmp_path: Path) -> None:
    """A reader sees the old file or the new one; variables in it are nobody else's business."""
    path = tmp_path / "x.toml"
    path.write_text('[supervisor]\nstate_dir = "."\n[worker.a]\ncommand = "x"\nnice = 3\n')
    configuration = load(str(path), environ={}, as_root=True)
    for _ in range(2):
        written = Path(write_effective(configuration))
        assert written == tmp_path / "effective.toml"
        assert written.stat().st_mode & 0o777 == 0o600
        assert tomllib.loads(written.read_text())["worker"]["a"]["nice"] == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["effective.toml", "x.toml"]


def test_a_folder_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    """Whoever writes it decides what a full or missing disk means."""
    path = tmp_path / "x.toml"
    path.write_text('[supervisor]\nstate_dir = "none"\n')
    configuration = load(str(path), environ={}, as_root=True)
    with pytest.raises(FileNotFoundError):
        write_effective(configuration)
