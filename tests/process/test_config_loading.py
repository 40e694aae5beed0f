"""The configuration is read by a child: its answer, its end, and what stays untouched."""

import hashlib
import os
import select
import signal
import socket
import time
from pathlib import Path

import pytest

from supervisord_lite import __version__
from supervisord_lite.base.record import replace
from supervisord_lite.config.load import judge
from supervisord_lite.config.loading import Loaded, Loading, Refused
from supervisord_lite.supervisor.reload import Done, Refusal
from tests.support.daemon import Daemon, clean_environment
from tests.support.slow import unanswering
from tests.support.supervisor import Daemon as Supervised
from tests.support.supervisor import a_spec
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

GOOD = '[supervisor]\nstate_dir = "state"\nruntime_dir = "run"\n[worker.a]\ncommand = ["${A}"]\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    (tmp_path / "state").mkdir()
    return path


def start(path: Path, *, limit_s: float = 20.0, **variables: str) -> Loading:
    environ = {**clean_environment(), "A": "x", **variables}
    return Loading(str(path), environ=environ, now_s=time.monotonic(), limit_s=limit_s)


def receive(loading: Loading) -> None:
    """Do what a loop does: sleep until there is something, then take it."""
    wait_s = max(0.0, loading.deadline_s - time.monotonic())
    select.select([loading], [], [], wait_s)
    loading.receive(time.monotonic())


def answer_of(loading: Loading) -> Loaded | Refused:
    while loading.answer is None:
        receive(loading)
    return loading.answer


def finish(loading: Loading) -> None:
    """Go on to the end of the child, which leaves no zombie."""
    while not loading.is_over:
        receive(loading)
    loading.close()
    assert loading._pid == 0


def test_a_good_file_is_what_check_says_it_is(config: Path) -> None:
    """The child answers exactly what the code of `check` finds, and writes nothing by itself."""
    loading = start(config, A="${B} é")
    answer = answer_of(loading)
    environ = {**clean_environment(), "A": "${B} é"}
    judged = judge(str(config), environ=environ, as_root=os.geteuid() == 0)
    digest = hashlib.sha256(config.read_bytes()).hexdigest()
    files = (str(config),)
    assert answer == Loaded(judged.configuration, "", files, {str(config): digest})
    loading.dismiss()
    finish(loading)
    assert list((config.parent / "state").iterdir()) == []


def test_what_is_put_in_force_is_written_down(config: Path) -> None:
    """effective.toml goes into the state folder that is in force, not into that of the file."""
    elsewhere = config.parent / "elsewhere"
    elsewhere.mkdir()
    loading = start(config)
    answer = answer_of(loading)
    assert isinstance(answer, Loaded)
    in_force = replace(answer.configuration.settings, state_dir=str(elsewhere))
    loading.put_in_force(in_force, now_s=time.monotonic())
    finish(loading)
    assert loading.unwritten == ""
    assert f'state_dir = "{elsewhere}"' in (elsewhere / "effective.toml").read_text()


def test_what_cannot_be_written_is_told(config: Path) -> None:
    """A missing folder or a full disk costs the file, and is told."""
    (config.parent / "state").rmdir()
    loading = start(config)
    answer = answer_of(loading)
    assert isinstance(answer, Loaded)
    loading.put_in_force(answer.configuration.settings, now_s=time.monotonic())
    finish(loading)
    assert "No such file or directory" in loading.unwritten


def test_a_bad_file_is_refused_with_all_its_errors(config: Path) -> None:
    """Errors come as people read them and as fields; the child ends by itself."""
    config.write_text("[worker.a]\nstop_timout = 1\npool_size = 0\n")
    loading = start(config)
    answer = answer_of(loading)
    finish(loading)
    assert isinstance(answer, Refused)
    assert f"{config}:2:1: error:" in answer.message
    assert answer.message.endswith("\n3 errors in 1 file.")
    assert [problem["line"] for problem in answer.problems] == [1, 2, 3]


def test_more_errors_than_fit_into_an_answer_are_counted(config: Path) -> None:
    """The first thousand come, without lines that nobody can read; the message knows them all."""
    long = f"[worker.long]\nstop_timout = '{'x' * 5000}'\ncommand = 'x'\n"
    bad = "".join(f"[worker.w{n}]\ncommand = 'x'\nstop_timout = 1\n" for n in range(1500))
    config.write_text(long + bad)
    loading = start(config)
    answer = answer_of(loading)
    finish(loading)
    assert isinstance(answer, Refused)
    assert answer.message.endswith("\n1,501 errors in 1 file.")
    assert (len(answer.problems), answer.count) == (1000, 1501)
    assert (answer.problems[0]["source"], answer.problems[0]["line"]) == ("", 2)
    assert answer.problems[1]["source"] == "stop_timout = 1"


def test_warnings_come_with_a_good_answer(config: Path) -> None:
    """What is probably not meant is told, and stops nothing."""
    config.write_text('[worker.a]\ncommand = ["sh", "-c", "a | b"]\n')
    loading = start(config)
    answer = answer_of(loading)
    loading.dismiss()
    finish(loading)
    assert isinstance(answer, Loaded)
    assert f"{config}:2:11: warning:" in answer.warnings


def test_thousands_of_workers_come_in_parts(config: Path) -> None:
    """A large answer is taken 64 KiB at a time: the loop goes on in between."""
    config.write_text("".join(f'[worker.w{i}]\ncommand = ["x"]\n' for i in range(2000)))
    loading = start(config)
    turns = 0
    while loading.answer is None:
        receive(loading)
        turns += 1
    loading.dismiss()
    finish(loading)
    assert isinstance(loading.answer, Loaded)
    assert len(loading.answer.configuration.specs) == 2000
    assert turns > 10


def test_a_file_that_does_not_answer_costs_the_child_only(config: Path) -> None:
    """A disk that hangs holds up the child; its own alarm ends it, and that is told."""
    with unanswering(config):
        loading = start(config, limit_s=1.0)
        answer = answer_of(loading)
        finish(loading)
    assert isinstance(answer, Refused)
    assert "ended with SIGALRM" in answer.message


def test_a_file_that_is_being_written_is_read_when_it_is_whole(config: Path) -> None:
    """Half of it is a good configuration, with fewer workers: they would be stopped."""
    ahead = (4_000_000_000, 4_000_000_000)  # young, however long the child needs to start
    included = config.parent / "y.toml"
    included.write_text("")
    config.write_text('supervisor.include = ["y.toml"]\n[worker.a]\ncommand = ["x"]\n')
    os.utime(config, ahead)
    with unanswering(included) as is_wanted:
        loading = start(config)
        wait_until(is_wanted, what="the child has read the first file and opens the second")
        with config.open("a") as stream:
            stream.write('[worker.b]\ncommand = ["x"]\n')
        os.utime(config, ahead)
    answer = answer_of(loading)
    loading.dismiss()
    finish(loading)
    assert isinstance(answer, Loaded)
    assert [spec.pool for spec in answer.configuration.specs] == ["a", "b"]


def test_a_child_that_hangs_for_good_is_given_up(config: Path) -> None:
    """Past the deadline the answer is no, whatever the child does."""
    with unanswering(config):
        loading = start(config, limit_s=20.0)
        loading.receive(time.monotonic() + 30.0)
        assert loading.is_over
        why = "the configuration could not be read: no answer within 20 s"
        assert loading.answer == Refused(why)
        loading.close()
    # Now the child goes on, with an answer that nobody hears.
    pid = loading._pid
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, what="the child has ended")


def test_children_that_were_given_up_are_reaped_and_are_not_many(config: Path) -> None:
    """A daemon that runs for years on a bad disk has no zombies, and no hundred hanging readers."""
    daemon, pids, answers = Supervised(a_spec("web")), list[int](), list[Done | Refusal]()

    def read_it(path: str, *, environ: dict[str, str], now_s: float) -> Loading:
        del path
        loading = Loading(str(config), environ={**environ, **clean_environment()}, now_s=now_s)
        pids.append(loading._pid)
        return loading

    reloads = daemon.supervisor._reloads
    reloads._start_loading = read_it
    try:
        with unanswering(config):
            for _ in range(9):
                reloads.ask(answers.append, is_dry=True)
                daemon.pass_s(100.0)
        assert len(pids) == 8
        assert len(answers) == 9
        for answer, why in ((answers[0], "no answer within"), (answers[8], "have not ended")):
            assert isinstance(answer, Refusal)
            assert why in answer.message

        def are_gone() -> bool:
            daemon.turn()
            return not any(Path(f"/proc/{pid}").exists() for pid in pids)

        wait_until(are_gone, what="they have gone on, have ended, and are reaped")
        assert reloads._hung == []
    finally:
        daemon.close()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            b"version 99.0\n",
            f"version 99.0 is installed, {__version__} runs: supervisord-lite upgrade",
        ),
        (b'settings {"later": 1}\n', "its answer cannot be read"),
        (b'spec {"pool": "x"}\n', "its answer cannot be read"),
        (b"good {\n", "its answer cannot be read"),
        (b"\xff\n", "its answer cannot be read"),
    ],
)
def test_an_answer_of_another_version_is_refused(config: Path, said: bytes, why: str) -> None:
    """The code on the disk may be replaced under a daemon: it stays what it is."""
    loading = start(config)
    childs = loading._socket
    loading._socket, other = socket.socketpair()
    other.sendall(said)
    loading.receive(time.monotonic())
    assert loading.is_over
    assert isinstance(loading.answer, Refused)
    assert why in loading.answer.message
    other.close()
    childs.close()
    pid = loading._pid
    wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, what="the child has ended")
    loading.close()


def test_a_child_that_is_killed_is_an_error(config: Path) -> None:
    """Whatever ends the child, the daemon only has no answer."""
    with unanswering(config):
        loading = start(config)
        os.kill(loading._pid, signal.SIGKILL)
        answer = answer_of(loading)
        finish(loading)
    assert isinstance(answer, Refused)
    assert "ended with SIGKILL" in answer.message


def test_the_daemon_writes_down_what_is_in_force() -> None:
    """`run` leaves effective.toml beside its state, and keeps its environment for a reload."""
    worker = '[worker.a]\ncommand = ["sleep", "${LONG}"]\n'
    with Daemon(worker, environment={"LONG": "1000"}) as daemon:
        daemon.wait_state("a", "running")
        path = daemon.folder / "state/effective.toml"
        assert '    "1000",' in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_does_not_keep_the_daemon_from_starting() -> None:
    """Where effective.toml cannot be written the daemon says so and runs."""
    daemon = Daemon('[worker.a]\ncommand = ["sleep", "1000"]\n')
    (daemon.folder / "state").mkdir()
    (daemon.folder / "state/effective.toml").mkdir()  # no file can take its place
    with daemon:
        daemon.wait_state("a", "running")
        assert "effective.toml is not written" in daemon.output()


def test_warnings_are_told_at_the_start() -> None:
    """Who never runs `check` reads them once, where the daemon prints."""
    with Daemon('[worker.a]\ncommand = ["sh", "-c", "sleep 1000 | cat"]\n') as daemon:
        daemon.wait_state("a", "running")
        said = " ".join(daemon.output().split())
        assert ": warning: only the shell gets the stop signal" in said
