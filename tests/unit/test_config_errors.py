"""A bad file is told with every error at its place, and changes nothing."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError, Problem, render
from supervisord_lite.config.load import load

Problems = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problems:
    """Return a function that gives the problems of a text, loaded as workers.toml."""
    monkeypatch.chdir(tmp_path)

    def problems_of(
        text: str, *, environ: Mapping[str, str] | None = None, as_root: bool = True
    ) -> tuple[Problem, ...]:
        Path("workers.toml").write_text(text)
        with pytest.raises(ConfigurationError) as caught:
            load("workers.toml", environ=environ or {}, as_root=as_root)
        assert caught.value.exit_code == 78
        return caught.value.problems

    return problems_of


# Below "[worker.a]\ncommand = [...]\n": the line, the column of the one problem, its words, hint.
LINES = {
    "misspelt key": ('stop_timout = "1s"', 1, 'unknown key "stop_timout"', '"stop_timeout"?'),
    "supervisord's number": ("stopwaitsecs = 30", 1, "stopwaitsecs", 'is stop_timeout = "30s"'),
    "supervisord's numprocs": ("numprocs = 4", 1, "numprocs", "pool_size = 4"),
    "supervisord's start": ("numprocs_start = 80", 1, "numprocs_start", "%{80..}"),
    "supervisord's autorestart": ("autorestart = false", 1, "autorestart", 'restart = "never"'),
    "supervisord's startsecs": ("startsecs = 5", 1, "startsecs", 'ready = "5s"'),
    "supervisord's retries": ("startretries = 3", 1, "startretries", "max_restarts = 3"),
    "supervisord's log": ('stdout_logfile = "/x"', 1, "stdout_logfile", 'log.stdout = "/x"'),
    "supervisord's signal": ('stopsignal = "TERM"', 1, "stopsignal", 'stop_signal = "SIGTERM"'),
    "systemd's ExecStart": ('ExecStart = "/x"', 1, "ExecStart", 'command = "/x"'),
    "systemd's Restart": ('Restart = "always"', 1, "Restart", 'did you mean "restart"?'),
    "systemd's RestartSec": ("RestartSec = 5", 1, "RestartSec", 'backoff.min = "5s"'),
    "circus's numprocesses": ("numprocesses = 2", 1, "numprocesses", "pool_size = 2"),
    "circus's timeout": ("graceful_timeout = 9", 1, "graceful", 'stop_timeout = "9s"'),
    "the inner name alone": ('max_size = "1M"', 1, "max_size", 'did you mean "log.max_size"?'),
    "the inner name, misspelt": ("log.bakups = 3", 5, "log.bakups", '"log.backups"?'),
    "another table's key": ('log_dir = "/x"', 1, "log_dir", "belongs to [supervisor]"),
    "nothing like it": ("xyzzy = 1", 1, 'unknown key "xyzzy" in [worker.a]', "help configuration"),
    "health's typo": ('health.htp = "http://x"', 8, 'unknown key "health.htp"', '"health.http"?'),
    "health by no URL": ('health.http = "htp://x"', 15, "health.http: expected", ""),
    "health by no port": ('health.tcp = "localhost"', 14, "an address", ""),
    "health of nobody": ("health.exec = []", 15, "the program has no name", ""),
    "warm": ("warm = 3", 1, '"warm" is not in this version', ""),
    "run_timeout": ('run_timeout = "0s"', 15, "longer than 0", ""),
    "critical": ('critical = "any"', 12, 'expected true, false or "all"', "every instance"),
    "singleton": ("singleton = 1", 13, "true or false", ""),
    "operators": ('operators = ["@nosuchgroup"]', 14, "there is no group nosuchgroup", "@GROUP"),
    "nobody after": ("after = [3]", 10, "after, item 1: expected a text", '"3"'),
    "log format": ('log.format = "jsn"', 14, '"jsn" is not a format', 'mean "json"?'),
    "log.compress": ('log.compress = "gzip"', 16, "true or false", "without quotes"),
    "level_prefix": ("log.level_prefix = 1", 20, "true or false", ""),
    "ready by health": ('ready = "health"', 9, "good answer: to what?", "health.exec"),
    "ready by stderr": ('ready = "fd:2"', 9, "from fd:3 to fd:9", "newline"),
    "ready by no descriptor": ('ready = "fd:x"', 9, "from fd:3 to fd:9", "newline"),
    "no heart": ('heartbeat_timeout = "0s"', 21, "longer than 0", ""),
    "ready, a word": ('ready = "soon"', 9, "ready: expected", ""),
    "ready too late": ('ready = "2m"', 9, "before start_timeout", "start_timeout"),
    "start too early": ('start_timeout = "1s"', 17, "before start_timeout", "raise"),
    "policy": ('restart = "sometimes"', 11, '"sometimes" is not a restart', '"on-failure"'),
    "policy, nearly": ('restart = "on-failures"', 11, "not a restart", 'mean "on-failure"?'),
    "policy, a truth": ("restart = true", 11, "got true", '"always"'),
    "scope": ('stop_scope = "group"', 14, '"group" is not a stop scope', '"leader" or "tree"'),
    "negative pool": ("pool_size = -1", 13, "from 1 to 1024, got -1", ""),
    "negative restarts": ("max_restarts = -1", 16, "from 1 to 1000, got -1", ""),
    "empty pool": ("pool_size = 0", 13, "from 1 to 1024, got 0", ""),
    "huge pool": ("pool_size = 1025", 13, "from 1 to 1024, got 1025", ""),
    "pool in quotes": ('pool_size = "3"', 13, "whole number", "without quotes: 3"),
    "pool, a truth": ("pool_size = true", 13, "whole number", ""),
    "no restarts": ("max_restarts = 0", 16, "from 1 to", ""),
    "no window": ('circuit_window = "0s"', 18, "longer than 0", ""),
    "no stable period": ("stable_run_period = 0", 21, "longer than 0", ""),
    "no stop": ('stop_timeout = "0s"', 16, "longer than 0", ""),
    "negative duration": ("stop_timeout = -1", 16, "from 0 to 10 years", ""),
    "endless duration": ("stop_timeout = inf", 16, "from 0 to 10 years", ""),
    "duration without unit": ('stop_timeout = "30"', 16, "expected a duration", '"30s"'),
    "duration in words": ('stop_timeout = "10 minutes"', 16, 'got "10 minutes"', ""),
    "duration in a table": ('backoff = { min = "5x" }', 19, 'backoff.min: expected', ""),
    "no backoff": ('backoff.min = "0s"', 15, "longer than 0", ""),
    "no backoff at all": ('backoff.max = "0s"', 15, "longer than 0", ""),
    "shrinking backoff": ("backoff.factor = 0.5", 18, "from 1 to 1000", ""),
    "no factor": ("backoff.factor = nan", 18, "from 1 to 1000", ""),
    "backoff upside down": ('backoff.max = "500ms"', 15, "less than backoff.min", ""),
    "jitter in quotes": ('backoff.jitter = "no"', 18, "true or false", ""),
    "backoff, no table": ('backoff = "1s"', 11, "expected a table", "backoff.NAME"),
    "exit code": ("ok_exit_codes = [0, 256]", 21, "item 2: must be from 0 to 255", ""),
    "exit code alone": ("ok_exit_codes = 0", 17, "a list of exit codes", "[0]"),
    "signal without SIG": ('stop_signal = "TERM"', 15, '"TERM" is not a signal', '"SIGTERM"?'),
    "no signal": ('stop_signal = "SIGFOO"', 15, "not a signal", "such as"),
    "signal number": ("stop_signal = 15", 15, "expected a text", ""),
    "waits missing": (
        'stop_signal = ["SIGINT", "SIGTERM"]', 15, "needs stop_timeout", '["10s", "10s"]'),
    "signals missing": ('stop_timeout = ["1s"]', 16, "needs stop_signal", '["SIGTERM"]'),
    "no rung": ("stop_signal = []", 15, "from 1 to 8", ""),
    "directory": ("directory = 3", 13, "expected a text", '"3"'),
    "empty directory": ('directory = ""', 13, "must not be empty", ""),
    "variable, a truth": ("environment.A = true", 17, "or false", 'environment.A = "true"'),
    "variable, a number": ("environment.A = 1.5", 17, "expected a text", '"1.5"'),
    "variable's name": ('environment."A=B" = "x"', 13, "name of a variable", ""),
    "environment, no table": ('environment = ["A=1"]', 15, "expected a table", "environment.NAME"),
    "environment file": ('environment_file = "no.env"', 20, "no such file", '"-no.env"'),
    "unknown user": ('user = "nosuchuser"', 8, "there is no user nosuchuser", ""),
    "unknown group": ('group = "nosuchgroup"', 9, "there is no group nosuchgroup", ""),
    "umask, decimal": ("umask = 22", 9, "octal", '"022" or 0o022'),
    "umask, a number": ("umask = 18", 9, "octal", '"022" or 0o022'),
    "umask, hexadecimal": ("umask = 0x12", 9, "octal", '"022" or 0o022'),
    "umask, too many digits": ("umask = 22222", 9, "octal", ""),
    "umask, not octal": ('umask = "089"', 9, "octal", ""),
    "umask, too much": ("umask = 0o1000", 9, "from 0 to 0o777", ""),
    "nice": ("nice = 20", 8, "from -20 to 19", ""),
    "memory": ('limits.memory = "1GB"', 17, "expected a size", '"1G"'),
    "cpu": ("limits.cpu = 0", 14, "from 0.01", ""),
    "pids": ("limits.pids = 0", 15, "from 1", ""),
    "files": ('limits.nofile = "many"', 17, '"unlimited"', ""),
    "unknown limit": ("limits.files = 3", 8, 'unknown key "limits.files"', "help limits"),
    "log, a word": ('log.stdout = "out"', 14, '"out" is not a place', '"./out"'),
    "log, a folder": ('log.stdout = "/var/log/"', 14, "is a folder", ""),
    "log size": ('log.max_size = "-1"', 16, "expected a size", ""),
    "variable unset": ('directory = "/x/${NOPE}/y"', 17, "${NOPE} is not set", "${NOPE:-…}"),
    "variable malformed": ('directory = "${A%b}"', 14, "begins a variable", "$${"),
    "NUL": ('directory = "a\\u0000b"', 13, "NUL", ""),
}  # fmt: skip


@pytest.mark.parametrize(("line", "column", "message", "hint"), LINES.values(), ids=LINES.keys())
def test_a_wrong_line_is_told(
    problems: Problems, line: str, column: int, message: str, hint: str
) -> None:
    """One wrong line gives one error, at the key or value that is wrong, with the way out."""
    (problem,) = problems(f'[worker.a]\ncommand = ["x"]\n{line}\n')
    assert (problem.file, problem.line, problem.column) == ("workers.toml", 3, column)
    assert message in problem.message
    assert hint in problem.hint
    assert problem.source == line


@pytest.mark.parametrize(("line", "column", "message", "hint"), LINES.values(), ids=LINES.keys())
def test_a_wrong_default_is_told_once(
    problems: Problems, line: str, column: int, message: str, hint: str
) -> None:
    """A wrong line of [defaults] is one error there, however many workers take it."""
    workers = "".join(f'[worker.w{i}]\ncommand = ["x"]\n' for i in range(3))
    found = problems(f"[defaults]\n{line}\n{workers}")
    assert [(p.line, p.column) for p in found] == [(2, column)]
    assert message.replace("[worker.a]", "[defaults]") in found[0].message


FILES = {
    "no command": ("[worker.a]\n", (1, 9), "[worker.a] has no command", "command ="),
    "empty command": ("[worker.a]\ncommand = []\n", (2, 11), "no name", ""),
    "no program": ('[worker.a]\ncommand = ["", "x"]\n', (2, 11), "no name", ""),
    "number in a command": ('[worker.a]\ncommand = ["x", 10]\n', (2, 17), "item 2", '"10"'),
    "half a quote": ('[worker.a]\ncommand = "x \'y"\n', (2, 11), "no closing quotation", "list"),
    "a pipe": ('[worker.a]\ncommand = "x | y"\n', (2, 11), "no shell reads this", "/bin/sh"),
    "bad name": ('[worker."../x"]\ncommand = ["x"]\n', (1, 9), '"../x" cannot be', "letters"),
    "reserved name": ('[worker.all]\ncommand = ["x"]\n', (1, 9), '"all" cannot be', ""),
    "long name": (f'[worker.{"a" * 101}]\ncommand = ["x"]\n', (1, 9), "cannot be", "100"),
    "instance of a pool": (
        '[worker.web]\ncommand = ["x"]\n[worker.web-3]\ncommand = ["x"]\n', (3, 9),
        '"web-3" is also instance 3 of "web" (workers.toml:1)', "rename"),
    "dot in a name": (
        '[worker.shop.web]\ncommand = ["x"]\n', (1, 14), "holds no dot", "[worker.shop-web]"),
    "misspelt inner table": (
        '[worker.a]\ncommand = ["x"]\n[worker.a.logs]\n', (3, 11), "logs", "[worker.a.log]"),
    "worker without a name": ('[worker]\ncommand = ["x"]\n', (2, 1), "must be a", "[worker.NAME]"),
    "workers as a list": ('[[worker]]\ncommand = ["x"]\n', (1, 3), "have names", "[worker.NAME]"),
    "worker as a list": ('[[worker.a]]\ncommand = ["x"]\n', (1, 10), "must be a", "[worker.a]"),
    "unknown table": ("[workers.a]\n", (1, 2), "unknown table [workers]", "[worker]?"),
    "another program's table": ("[program.b]\n", (1, 2), "[program]", "supervisord's"),
    "a queue's key": (
        '[worker.a]\ncommand = "x"\nisolation = "clone"\n', (3, 1), "isolation", "[queue.NAME]"),
    "tasks": ("[[task]]\nx = 1\n", (1, 3), "unknown table [task]", "in the queue"),
    "later table": ("[queue.a]\n", (1, 2), "[queue] is not in this version", ""),
    "key in no table": ('command = ["x"]\n', (1, 1), "stands in no table", "[worker.NAME]"),
    "supervisor's typo": ('[supervisor]\nlog_dirs = "x"\n', (2, 1), "log_dirs", '"log_dir"?'),
    "supervisor's include": (
        '[supervisor]\ninclude = ["x.toml"]\n', (2, 12), "x.toml: no such file", "a pattern"),
    "supervisor's include of itself": (
        '[supervisor]\ninclude = "*.toml"\n', (2, 11),
        "includes itself: workers.toml -> workers.toml", ""),
    "control's readers": (
        '[control]\nread = ["nosuchuser"]\n', (2, 9), "read, item 1: there is no user", "@GROUP"),
    "supervisord's daemon": (
        '[supervisor]\nchildlogdir = "/x"\n', (2, 1), "childlogdir", 'log_dir = "/x"'),
    "worker's key of the daemon": (
        '[supervisor]\nstop_timeout = "1s"\n', (2, 1), "stop_timeout", "[worker.NAME]"),
    "nobody to require": (
        '[worker.web]\ncommand = "x"\nrequires = ["redsi"]\n[worker.redis]\ncommand = "x"\n',
        (3, 13),
        'web requires "redsi", which is not defined; did you mean "redis" (workers.toml:4)?', ""),
    "requires itself": ('[worker.a]\ncommand = "x"\nrequires = "a"\n', (3, 12), "itself", "= []"),
    "requires one of a pool": (
        '[worker.a]\ncommand = "x"\nrequires = "b-2"\n[worker.b]\ncommand = "x"\n', (3, 12),
        "which is one instance", '"b"'),
    "requires what is off": (
        '[worker.a]\ncommand = "x"\nrequires = "b"\n[worker.b]\nenabled = false\n', (3, 12),
        'a requires "b", which is disabled (workers.toml:5)', ""),
    "a circle": (
        ('[worker.a]\ncommand = "x"\nrequires = "b"\n[worker.b]\ncommand = "x"\nafter = ["c"]\n'
        '[worker.c]\ncommand = "x"\nrequires = "a"\n'), (9, 12),
        "a requires b, b starts after c, c requires a", ""),
    "a circle by [defaults]": (
        ('[defaults]\nafter = "a"\n[worker.a]\ncommand = "x"\nrequires = "b"\n'
        '[worker.b]\ncommand = "x"\n'), (2, 9), "none of them could ever start",
        "give b after = []"),
    "a wrong name in [defaults]": (
        '[defaults]\nafter = "no"\n[worker.a]\ncommand = "x"\n[worker.b]\ncommand = "x"\n', (2, 9),
        '[defaults] starts after "no", which is not defined', ""),
    "nobody to extend": (
        '[worker.app]\nenabled = false\n[worker.web]\nextends = "ap"\n', (4, 11),
        'web extends "ap", which is not defined', '"app"?'),
    "extends itself": (
        '[worker.a]\nextends = "a"\ncommand = "x"\n', (2, 11), "extend each other: a -> a", ""),
    "a circle of extends": (
        ('[worker.a]\nextends = "b"\ncommand = "x"\n[worker.b]\nextends = "c"\n'
        '[worker.c]\nextends = "a"\n'), (7, 11), "a -> b -> c -> a", ""),
    "defaults that extend": (
        '[defaults]\nextends = "a"\n[worker.a]\ncommand = "x"\n', (2, 1), "no meaning", ""),
    "a singleton of two": (
        '[worker.a]\ncommand = "x"\nsingleton = true\npool_size = 2\n', (3, 13),
        "a has 2 instances, and may have one", "workers.toml:4"),
    "a wrong value where disabled": (
        '[worker.a]\nenabled = false\npool_size = 0\nuser = "nosuchuser"\n', (3, 13), "from 1", ""),
    "log level": ('[supervisor]\nlog_level = "loud"\n', (2, 13), '"loud" is not', '"debug"'),
    "control, no table": ("control = 1\n", (1, 11), "control: expected a table", ""),
    "two on one file": (
        '[defaults]\ncommand = ["x"]\n[worker.a]\nlog = "x.log"\n[worker.b]\nlog = "./x.log"\n',
        (6, 1), "a and b", "%i"),
    "instances on one file": (
        '[worker.a]\ncommand = ["x"]\npool_size = 2\nlog.stdout = "x.log"\n', (4, 14),
        "2 instances", '"x-%i.log"'),
    "instance on another's file": (
        '[defaults]\ncommand = "x"\n[worker.a]\npool_size = 9\nlog = "/%i"\n[worker.b]\nlog = "/7"',
        (7, 1), "a-7 and b", ""),
    "header that swallows": (
        '[worker.r]\ncommand = ["x"]\n[worker.r.log]\nmax_size = "2M"\npool_size = 2\n', (5, 1),
        '"pool_size" stands inside [worker.r.log], which begins at line 3',
        'above line 3, or write log.max_size = "2M" without the header'),
    "header of variables that swallows": (
        '[worker.r]\ncommand = ["x"]\n[worker.r.environment]\nA = "1"\nuser = "root"\n', (5, 1),
        '"user" stands inside', 'environment.A = "1"'),
    "scalar with a list": (
        '[worker.a]\ncommand = ["x"]\nstop_signal = ["SIGINT", "SIGTERM"]\nstop_timeout = "1s"\n',
        (4, 16), "must be a list of 2", '["10s", "10s"]'),
    "lists of two lengths": (
        '[worker.a]\ncommand = ["x"]\nstop_signal = ["SIGINT"]\nstop_timeout = ["1s", "2s"]\n',
        (4, 16), "a list of 1", '["10s"]'),
    "worker's own variable": (
        '[worker.a]\ncommand = ["x", "${B}"]\nenvironment.B = "b"\n', (2, 18),
        "set for the worker, not for the daemon", "shell"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message", "hint"), FILES.values(), ids=FILES.keys())
def test_a_wrong_file_is_told(
    problems: Problems, text: str, place: tuple[int, int], message: str, hint: str
) -> None:
    """What is wrong between keys, names and tables is told where it can be mended."""
    (problem,) = problems(text)
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert hint in problem.hint


def test_one_kind_of_worker_only(problems: Problems) -> None:
    """A worker that is a command and a Python target is told so."""
    (both,) = problems('[worker.a]\npython = "a:b"\ncommand = ["x"]\n')
    assert both.line == 2
    assert both.message == '[worker.a] has "command" and "python"'


def test_all_errors_come_at_once_in_the_order_of_the_file(problems: Problems) -> None:
    """Nobody mends one error to be told the next."""
    found = problems(
        '[supervisor]\nlog_level = "x"\n[worker.a]\ncommand = ["x"]\nstop_timout = "1s"\n'
        '[worker.b]\nrestrt = "always"\npool_size = 0\n'
    )
    assert [problem.line for problem in found] == [2, 5, 6, 7, 8]


def test_only_root_starts_as_somebody_else(problems: Problems) -> None:
    """A user's daemon is told at once that it cannot become another user or group."""
    other = "nobody" if os.geteuid() == 0 else "root"
    (problem,) = problems(f'[worker.a]\ncommand = ["x"]\nuser = "{other}"\n', as_root=False)
    assert (problem.line, problem.column) == (3, 8)
    assert "only root" in problem.message
    gid = 1 if os.getegid() == 0 else 0
    (problem,) = problems(f'[worker.a]\ncommand = ["x"]\ngroup = {gid}\n', as_root=False)
    assert (problem.line, problem.column) == (3, 9)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """Without its file the daemon says which one it wanted."""
    path = str(tmp_path / "no.toml")
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ={}, as_root=True)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.message) == (path, 0, "no such file")
    assert "-c FILE" in problem.hint


def test_a_byte_that_is_no_text_has_a_place(tmp_path: Path) -> None:
    """A file in another encoding is told at its first wrong byte."""
    path = tmp_path / "x.toml"
    path.write_bytes(b'a = 1\r\nb = "\xc3\xbc\xfc"\n')
    with pytest.raises(ConfigurationError) as caught:
        load(str(path), environ={}, as_root=True)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 7)
    assert "0xfc is not UTF-8" in problem.message


def test_errors_of_an_environment_file_are_its_own(problems: Problems, tmp_path: Path) -> None:
    """A bad line of an environment file is placed in that file."""
    Path("x.env").write_text("A=1\nnonsense\n")
    (problem,) = problems('[worker.a]\ncommand = ["x"]\nenvironment_file = "x.env"\n')
    assert (problem.file, problem.line) == (str(tmp_path / "x.env"), 2)
    (problem,) = problems('[supervisor]\nenvironment_file = "x.env"\n')
    assert (problem.file, problem.line) == (str(tmp_path / "x.env"), 2)


def test_the_daemon_s_environment_file_may_be_missing_only_if_it_says_so(
    problems: Problems,
) -> None:
    """A missing file of variables is an error unless its name begins with "-"."""
    (problem,) = problems('[supervisor]\nenvironment_file = ["-a.env", "b.env"]\n')
    assert (problem.line, problem.column) == (2, 31)
    assert "b.env: no such file" in problem.message
    (problem,) = problems('[supervisor]\nenvironment_file = "${NO}.env"\n')
    assert "${NO} is not set" in problem.message


def test_an_error_is_shown_as_people_read_it(problems: Problems) -> None:
    """Place, what is wrong, the line, a mark under it and a hint, in 80 columns."""
    found = problems(
        '[worker.web]\ncommand = ["x"]\nstopwaitsecs = 30\n'
        '[worker.web.log]\nmax_size = "100M"\npool_size = 2\n'
    )
    assert render(found).split("\n") == [
        'workers.toml:3:1: error: unknown key "stopwaitsecs" in [worker.web]',
        "  3 | stopwaitsecs = 30",
        "    | ^^^^^^^^^^^^",
        '    = supervisord\'s stopwaitsecs is stop_timeout = "30s" here',
        'workers.toml:6:1: error: "pool_size" stands inside [worker.web.log], which',
        "  begins at line 4: TOML puts every key below a [header] into it",
        "  6 | pool_size = 2",
        "    | ^^^^^^^^^",
        '    = move it above line 4, or write log.max_size = "100M" without the header',
    ]


def test_a_long_line_is_cut_around_the_place() -> None:
    """A line of 1,000 characters shows the part that is meant."""
    source = "x" * 500 + "WRONG" + "y" * 500
    shown = render([Problem("f", 1, 501, "bad", "", source, 5)]).split("\n")
    assert max(map(len, shown)) <= 80
    start = shown[2].index("^")
    assert shown[1][start : start + 5] == "WRONG"
    assert shown[2].endswith("^^^^^")


def test_a_long_path_stays_in_one_piece() -> None:
    """Editors and CI find file, line, column and "error:" in one line."""
    path = f"/{'folder with spaces/' * 6}x.toml"
    shown = render([Problem(path, 3, 1, "this is wrong, and that too")]).split("\n")
    assert shown == [f"{path}:3:1: error: this", "  is wrong, and that too"]


def test_nothing_in_a_file_moves_the_cursor(problems: Problems) -> None:
    """Control characters of a file never reach the terminal."""
    found = problems('[worker."a\\u001b[31m\u202e"]\ncommand = "\\u001b[2J | x"\n# \u202e\n')
    assert len(found) == 2
    assert all(line.isprintable() for line in render(found).split("\n"))


def test_the_error_as_a_whole_is_what_people_read() -> None:
    """A verb that meets a bad configuration prints each error once, and how many there are."""
    one, two = Problem("f", 1, 1, "a"), Problem("g", 1, 1, "b")
    assert str(ConfigurationError([one, one])) == "f:1:1: error: a\n1 error in 1 file."
    text = "g:1:1: error: b\nf:1:1: error: a\n2 errors in 2 files."
    assert str(ConfigurationError([two, one])) == text
