"""`logs` as people type it, against a control socket with made-up answers."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.control import FakeDaemon, a_worker, log_file
from tests.support.typed import COMMAND, environment, files_of, on_a_terminal, sdl, start
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


def test_logs_come_as_they_are(tmp_path: Path) -> None:
    """Into a pipe every byte is passed on; -n counts lines of rotated files too."""
    path = log_file(tmp_path, "web.log", ["c", "d"])
    log_file(tmp_path, "web.log.1", ["a", "b"])
    with path.open("ab") as file:
        file.write(b"\x1b[31m\xff\n")
    errors = log_file(tmp_path, "web.err", ["oops"])
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.answers["LogFiles"] = files_of(("web", str(path), str(errors)))
        all_words = [*COMMAND, "logs", "web", "-n", "4"]
        done = subprocess.run(
            all_words,
            capture_output=True,
            check=True,
            timeout=30,
            env=environment(SUPERVISORD_LITE_SOCKET=daemon.path),
        )
        assert done.stdout == b"b\nc\nd\n\x1b[31m\xff\n"
        assert sdl(daemon, "logs", "web", "--stderr").stdout == "oops\n"
        lines = sdl(daemon, "logs", "web", "-n", "1", "--json").stdout.splitlines()
        assert [json.loads(line)["line"] for line in lines] == ["\x1b[31m\\xff"]


def test_logs_of_several_are_prefixed(tmp_path: Path) -> None:
    """Without a name all are shown, each line with its origin."""
    web, db = log_file(tmp_path, "web.log", ["a", "b"]), log_file(tmp_path, "db.log", ["c"])
    with FakeDaemon() as daemon:
        daemon.answers["LogFiles"] = files_of(("web-1", str(web), ""), ("db", str(db), ""))
        assert sdl(daemon, "logs").stdout == "web-1 | a\nweb-1 | b\ndb    | c\n"


@pytest.mark.parametrize(("target", "word"), [("inherit", "journalctl"), ("null", "thrown away")])
def test_logs_that_are_in_no_file_say_where_they_are(target: str, word: str) -> None:
    """The way out is named: log_dir."""
    with FakeDaemon() as daemon:
        daemon.answers["LogFiles"] = files_of(("web", target, target))
        done = sdl(daemon, "logs", "web")
        assert (done.returncode, done.stdout) == (1, "")
        assert word in done.stderr
        assert "log_dir" in done.stderr


def test_following_a_log_ends_quietly_with_ctrl_c(tmp_path: Path) -> None:
    """Every line through a rotation arrives, and the end is no failure."""
    path = log_file(tmp_path, "web.log", ["a"])
    with FakeDaemon() as daemon:
        daemon.answers["LogFiles"] = files_of(("web", str(path), ""))
        process = start(daemon, "logs", "-f", "web")
        assert process.stdout is not None
        assert process.stdout.readline() == "a\n"
        with path.open("a") as file:
            file.write("b\n")
        path.rename(tmp_path / "web.log.1")
        path.write_text("c\n")
        assert [process.stdout.readline() for _ in range(2)] == ["b\n", "c\n"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")


def test_following_a_log_ends_with_the_daemon(tmp_path: Path) -> None:
    """Not with a replaced supervisor; what is written last is printed, half a line too."""
    path = log_file(tmp_path, "web.log", ["a"])
    other = log_file(tmp_path, "db.log", [])
    daemon = FakeDaemon()
    with daemon:
        daemon.answers["LogFiles"] = files_of(("web", str(path), ""), ("db", str(other), ""))
        process = start(daemon, "logs", "-f")
        assert process.stdout is not None
        assert process.stdout.readline() == "web | a\n"
        wait_until(lambda: daemon.connection_count, what="it listens for the end")
        daemon.replace_supervisor()
        wait_until(lambda: daemon.replaced and daemon.connection_count, what="it does so again")
        with path.open("a") as file:
            file.write("b\nlast words")
        assert process.stdout.readline() == "web | b\n"
        daemon.end()
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "web | last words\n")
        assert err == "supervisord-lite: logs: the daemon has ended\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """`logs | head -1` prints one line and nothing on stderr."""
    path = log_file(tmp_path, "web.log", ["x" * 100] * 20000)
    with FakeDaemon() as daemon:
        daemon.answers["LogFiles"] = files_of(("web", str(path), ""))
        process = start(daemon, "logs", "-n", "20000", "web")
        assert process.stdout is not None
        assert process.stdout.readline() == "x" * 100 + "\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(30) == 0


def test_a_terminal_obeys_no_log(tmp_path: Path) -> None:
    """An escape sequence in a log is shown, not carried out."""
    path = tmp_path / "web.log"
    path.write_bytes(b"\x1b]0;owned\x07\ttab\n\xff\n")
    with FakeDaemon() as daemon:
        daemon.answers["LogFiles"] = files_of(("web", str(path), ""))
        assert on_a_terminal(daemon, ["logs", "web"]) == (b"\\x1b]0;owned\\x07\ttab\r\n\\xff\r\n")
