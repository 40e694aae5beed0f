"""What a Python worker knows and says, and what a target is: without a process of its own."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisord_lite.worker import binding
from supervisord_lite.worker.context import Context
from supervisord_lite.worker.context import context as current
from supervisord_lite.worker.story import traceback_of, words_of
from supervisord_lite.worker.target import TargetError, find
from supervisord_lite.worker.voice import MOST_BYTES, Voice
from tests.support.wait import wait_until


class Ear:
    """The daemon's end of a notification socket; `told`: all that was heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self.voices: list[Voice] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def voice(self, path: str = "") -> Voice:
        """Return a voice that is heard here."""
        voice = Voice(path or str(self.path))
        self.voices.append(voice)
        return voice

    def close(self) -> None:
        """End all."""
        for voice in self.voices:
            voice.close()
        self.socket.close()

    def heard(self) -> list[str]:
        """Return what was said since the last time."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(1 << 17).decode())
            except BlockingIOError:
                self.told += found
                return found


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    """Return an ear that is open."""
    found = Ear(tmp_path / "notify")
    yield found
    found.close()


def test_what_is_said_are_the_words_of_sd_notify(ear: Ear) -> None:
    """One line each, whatever the text is."""
    context = Context("web-2", "web", 2, voice=ear.voice(), heartbeat_timeout_s=5.0)
    context.ready()
    context.heartbeat()
    context.status("two\nlines")
    assert ear.heard() == ["READY=1", "WATCHDOG=1", "STATUS=two lines"]


def test_a_status_is_told_at_most_ten_times_in_a_second_and_the_last_one_always(ear: Ear) -> None:
    """Each one that is told wakes three processes."""
    context = Context("web", "web", 1, voice=ear.voice())
    for number in range(1000):
        context.progress(number, 1000)
    wait_until(lambda: "STATUS=999 of 1000" in ear.heard(), what="the last")
    assert ear.told[0] == "STATUS=0 of 1000"
    assert len(ear.told) < 20
    context.status("done")
    context.flush()
    assert ear.heard() == ["STATUS=done"]


def test_signs_of_life_are_sent_at_most_every_tenth_of_a_second(ear: Ear) -> None:
    """And not at all where nobody expects them."""
    context = Context("web", "web", 1, voice=ear.voice(), heartbeat_timeout_s=600.0)
    for _ in range(1000):
        context.heartbeat()
    assert 1 <= len(ear.heard()) <= 3
    Context("web", "web", 1, voice=ear.voice()).heartbeat()
    assert ear.heard() == []


def test_a_loop_turns_until_it_must_stop(ear: Ear) -> None:
    """Each turn, and each wait for the next one, is a sign of life."""
    context = Context("web", "web", 1, voice=ear.voice(), heartbeat_timeout_s=0.03)
    turns = []
    for turn in context.loop(every_s=0.01):
        turns.append(turn)
        if turn == 3:
            context.stop()
    assert turns == [0, 1, 2, 3]
    ear.heard()
    context = Context("web", "web", 1, voice=ear.voice(), heartbeat_timeout_s=0.03)
    thread = threading.Thread(target=lambda: list(context.loop(every_s=1000.0)))
    thread.start()
    wait_until(lambda: ear.heard() and len(ear.told) >= 8, what="it waits and is alive")
    context.stop()
    thread.join()


def test_what_is_left_of_the_time_to_stop_is_known() -> None:
    """Endless before, and where nobody has said."""
    context = Context("web", "web", 1, stop_timeout_s=20.0)
    assert context.stop_left_s() == float("inf")
    context.stop()
    assert 19.0 < context.stop_left_s() <= 20.0
    assert not context.sleep(1000)
    other = Context("web", "web", 1)
    other.stop()
    assert other.stop_left_s() == float("inf")


def test_a_socket_has_a_name() -> None:
    """Those that there are stand in the error."""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        context = Context("web", "web", 1, sockets={"http": own.fileno()})
        found = context.sockets["http"]
        assert found.getsockname() == own.getsockname()
        assert context.sockets["http"] is found
        assert (list(context.sockets), len(context.sockets)) == (["http"], 1)
        with pytest.raises(KeyError, match="there are: http"):
            context.sockets["https"]
        found.detach()


def test_its_logger_knows_who_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """For a formatter of JSON, say."""
    Context("web-2", "web", 2).log.warning("full")
    (record,) = caplog.records
    about = vars(record)
    assert (record.name, about["worker"], about["pool"], about["instance"]) == (
        "worker.web", "web-2", "web", 2,
    )  # fmt: skip


def test_without_a_daemon_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    """Also when it is gone."""
    for voice in (Voice(None), Voice(str(tmp_path / "nobody"))):
        voice.ready()
        assert voice.alive()
        voice.crashed("x", "y")
    ear = Ear(tmp_path / "notify")
    voice = ear.voice()
    ear.socket.close()
    voice.ready()
    assert voice.status("x")
    ear.close()


def test_a_long_path_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a socket has an end, folders have none."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.chdir(folder)
    ear = Ear(Path("notify"))
    voice = ear.voice(str(folder / "notify"))
    voice.ready()
    assert ear.heard() == ["READY=1"]
    ear.close()


@pytest.mark.parametrize("letter", ["x", "ü", "\U0001f600", "\n"])
def test_a_crash_fits_into_one_message(ear: Ear, letter: str) -> None:
    """In one line; of a traceback that is too long the end is kept."""
    ear.voice().crashed("words", letter * 200_000 + "end")
    (said,) = ear.heard()
    assert len(said.encode()) <= MOST_BYTES + 100
    assert "\n" not in said
    assert said.endswith('end"}')


def test_who_reads_nothing_keeps_nobody_waiting(ear: Ear) -> None:
    """What is not taken is said again later."""
    voice = ear.voice()
    told = [voice.status(str(number)) for number in range(10_000)]
    assert told[0]
    assert not told[-1]


class QuietError(Exception):
    """Cannot be turned into a text."""

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("order -4: negative"), "ValueError: order -4: negative"),
        (ValueError(), "ValueError"),
        (ValueError("\n first \nsecond"), "ValueError: first"),
        (QuietError(), "QuietError"),
        (KeyError("a"), "KeyError: 'a'"),
    ],
)
def test_an_exception_is_one_line(error: Exception, words: str) -> None:
    """Whatever it has to say."""
    assert words_of(error) == words
    assert traceback_of(error)


def plain(source: object, batch: int = 20) -> None:
    """Take two arguments."""


def with_context(context: object, *, top: int = 3) -> None:
    """Take the context too."""


def takes_all(**config: object) -> None:
    """Take anything."""


def by_position(first: int, /) -> None:
    """Take what cannot be given by name."""


@dataclass
class Fields:
    """Has fields."""

    source: str
    batch: int = 20


@pytest.mark.parametrize(
    ("target", "given"),
    [(plain, ["source"]), (with_context, []), (with_context, ["top", "context"]),
     (takes_all, ["x", "y"]), (Fields, ["source", "batch"]), (dict, ["a"])],
)  # fmt: skip
def test_arguments_that_fit_are_taken(target: object, given: list[str]) -> None:
    """A parameter `context` is given where nobody else does."""
    binding.check(target, given)


@pytest.mark.parametrize(
    ("target", "given", "argument", "problem", "hint"),
    [
        (plain, ["sorce"], "sorce", 'plain has no argument "sorce"', 'did you mean "source"?'),
        (plain, ["source", "x"], "x", 'plain has no argument "x"', "arguments: source, batch"),
        (plain, [], "source", 'plain needs the argument "source"', "config.source = …"),
        (Fields, ["source", "bach"], "bach", 'Fields has no field "bach"', "fields: source, batch"),
        (with_context, ["tpo"], "tpo", 'with_context has no argument "tpo"', 'did you mean "top"?'),
        (by_position, [], "", "by_position: missing a required", ""),
    ],
)
def test_arguments_that_do_not_fit_are_told_with_what_does(
    target: object, given: list[str], argument: str, problem: str, hint: str
) -> None:
    """No retry can heal that."""
    with pytest.raises(binding.MisfitError) as caught:
        binding.check(target, given)
    error = caught.value
    assert (error.argument, error.hopeless) == (argument, True)
    assert error.problem.startswith(problem)
    assert hint in error.hint
    assert "(" in str(error)


def test_a_target_is_found_by_its_words() -> None:
    """Also inside a class; what is near is told."""
    assert find("os:path.join", path=[], script=None)
    with pytest.raises(TargetError, match=r'os has no "getcwb"; did you mean "getcwd(b)?"\?'):
        find("os:getcwb", path=[], script=None)
    with pytest.raises(TargetError, match="not of the form"):
        find("os", path=[], script=None)


def test_the_context_can_be_imported_before_it_is_known() -> None:
    """It is that of whoever asks."""
    assert current.name == "worker"
    assert "worker" in repr(current)


def test_a_status_that_is_no_text_fails_where_it_is_said() -> None:
    """Not in the thread that tells it later, whose traceback names nobody."""
    own = Context("web", "web", 1, voice=Voice(None))
    with pytest.raises(TypeError, match="takes a text, not bytes"):
        own.status(b"busy")  # type: ignore[arg-type]
