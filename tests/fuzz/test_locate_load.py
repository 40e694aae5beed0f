"""The loader against anything that may stand in a file: an answer, or errors with a place."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisord_lite.config.errors import ConfigurationError, render
from supervisord_lite.config.load import load

pytestmark = pytest.mark.slow

WORDS = st.sampled_from(
    ["[worker.a]", "[worker.a.log]", "[[worker.a]]", "[defaults]", "[supervisor]", "[control]",
     "worker", "command", "log", "stdout", "environment", "ready", "stop_signal", "stop_timeout",
     "backoff", "limits", "nofile", "umask", "user", "path", "pool_size", "ok_exit_codes", "x",
     "environment_file", "extends", "include", "requires", "health", "http",
     "schedule", "=", ".", ",", "[", "]", "{", "}", "\n", "\n", "\r\n", "#", " ",
     '"', "'", '"""', "'''", '"x"', '"10s"', '"a.log"', '"${X}"', '"${"', '"%i"', '"\\u0000"',
     '"\\', "1", "-1", "022", "10m", "1.5", "nan", "inf", "true", "True", "1979-05-27", "é", "\x00",
     "\ufeff", "\t", "0xffffffffffffffffffffffffffffffffffffffff"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["command", "pool_size", "restart", "ready", "start_timeout", "stop_signal", "stop_timeout",
     "backoff", "backoff.min", "backoff.factor", "directory", "environment", "environment.A",
     "environment_file", "user", "group", "umask", "nice", "limits", "limits.memory", "limits.cpu",
     "limits.nofile", "log", "log.stdout", "log.stderr", "log.max_size", "log.backups",
     "ok_exit_codes", "circuit_cooldown", "autostart", "max_restarts", "schedule", "nope",
     "autorestart", "numprocs", "startsecs", "include", "extends", "enabled", "critical",
     "singleton", "requires", "after", "run_timeout", "operators", "admin", "python", "agent",
     "container", "queue", "config", "config.x", "interpreter", "preload", "warm", "schedule.cron",
     "heartbeat_timeout", "health", "health.http", "health.exec", "recycle", "recycle.jitter",
     "secrets", "secrets.X", "capabilities", "sockets", "sockets.http", "events", "log.format",
     "log.compress", "budget", "budget.usd", "command.x", "repo", "retry_delays", "price", "store",
     "drain"]
)  # fmt: skip
VALUES = st.sampled_from(
    ["1", "-1", "0", "1.5", "nan", "inf", "true", "false", '""', '"x"', '"10s"', '"0s"', '"a/b"',
     '"a.log"', '"inherit"', '"null"', '"SIGTERM"', '["SIGTERM", "SIGINT"]', '["1s", "2s"]',
     "[]", "[[]]", "[1, 2]", "{}", "{ x = 1 }", '{ min = "1s" }', "[{ a = 1 }]", "1979-05-27",
     '"\\u0000"', '"${HOME}"', '"${NOPE}"', '"${"', '"%i.log"', '"always"', "0o22", '"022"',
     '"a"', '["a", "b"]', '"all"', '"*"', '["@root", "nobody"]', '"workers.toml"', '"*.toml"',
     '"a.b:C"', '"* * * * *"', '"file:/x"', '"http://x/y"', '{ listen = "x:1" }', '"${HOME:-1}"',
     f"0x{'f' * 5000}", '"it\'s"', '"a | b"', '"é\\u001b[31m"', '"unlimited"', '"64K"', '"root"']
)  # fmt: skip
HEADERS = st.sampled_from(
    ["[worker.a]", "[worker.b]", "[worker.a-1]", "[worker.a.log]", "[worker.a.x]", "[[worker.c]]",
     "[defaults]", "[supervisor]", "[control]", "[worker]", "[nope]", "[worker.all]", "[work]",
     "[queue.a]", "[agent.a]", "[queue]", "[[agent]]", "[worker.a.health]", "[worker.b.sockets.x]"]
)  # fmt: skip
LINES = st.one_of(HEADERS, st.tuples(KEYS, VALUES).map(" = ".join))


def judge(data: bytes) -> None:
    """Load *data* and hold the answer to what is promised of errors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "workers.toml")
        path.write_bytes(data)
        try:
            load(str(path), environ={"HOME": "/root"}, as_root=os.geteuid() == 0)
        except ConfigurationError as error:
            lines = data.decode(errors="replace").replace("\r\n", "\n").split("\n")
            for problem in error.problems:
                assert problem.message
                assert 1 <= problem.line <= len(lines)
                assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
            shown = render(error.problems)
            assert all(line.isprintable() for line in shown.split("\n"))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(WORDS, max_size=25).map("".join))
def test_no_text_breaks_the_loader(text: str) -> None:
    """Whatever is typed, the answer is a configuration or errors with line and column."""
    judge(text.encode())


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(LINES, max_size=12).map("\n".join))
def test_no_value_of_a_wrong_kind_breaks_the_loader(text: str) -> None:
    """Any value under any key is taken or refused with its place."""
    judge(text.encode())


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_loader(data: bytes) -> None:
    """A file that is no text at all is refused with the place of the first wrong byte."""
    judge(data)
