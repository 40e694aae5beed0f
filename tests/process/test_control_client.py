"""The client against daemons that are replaced, gone, silent or not what they seem."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisord_lite.control.calls import Call
from supervisord_lite.control.client import Client
from supervisord_lite.control.errors import (
    ControlError,
    NoAnswerError,
    NoDaemonError,
    NoSuchWorkerError,
    NotPermittedError,
    ReplacedError,
)
from tests.support.control import MANAGER, FakeDaemon, a_worker, an_outcome, listen, with_outcomes
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


@contextmanager
def scripted(*conversations: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection after the other by hand; yield the path."""
    listener = listen()

    def serve() -> None:
        for conversation in conversations:
            connected, _ = listener.accept()
            with connected:
                conversation(connected)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(30)
        listener.close()


def with_error(name: str, parameters: dict[str, object]) -> Callable[[Call], None]:
    """Return a handler that answers with an error."""
    return lambda call: call.error(f"{MANAGER}.{name}", parameters)


def test_answers_and_errors_arrive_as_what_they_are() -> None:
    """A caller gets parameters, or an exception with the exit code of the command."""
    with FakeDaemon([a_worker("web")]) as daemon, Client(daemon.path) as client:
        assert client.call("Version") == {"version": "9.8.7"}
        with pytest.raises(NoSuchWorkerError, match="did you mean web") as no_worker:
            client.call("Status", {"names": ["wbe"]})
        assert (no_worker.value.exit_code, no_worker.value.subject) == (4, "wbe")

        refusals: dict[str, tuple[str, dict[str, object], type[Exception], int]] = {
            "Reset": ("Refused", {"name": "a", "reason": "no", "hint": "x"}, ControlError, 1),
            "Stop": ("NotPermitted", {"method": "Stop", "uid": 4242}, NotPermittedError, 5),
            "Start": ("Failed", {"method": "Start"}, ControlError, 1),
            "Restart": ("Other", {}, ControlError, 1),
        }
        for method, (error, parameters, kind, exit_code) in refusals.items():
            daemon.answers[method] = with_error(error, parameters)
            with pytest.raises(kind) as refused:
                client.call(method, {"names": ["a"]})
            assert getattr(refused.value, "exit_code", None) == exit_code
        with pytest.raises(ControlError, match="does not know Frobnicate"):
            client.call("Frobnicate")


def test_a_replaced_supervisor_is_not_noticed_by_what_may_be_said_twice() -> None:
    """Status and start go on through a crash of the supervisor."""
    with FakeDaemon([a_worker("web")]) as daemon, Client(daemon.path) as client:
        daemon.answers["Start"] = lambda call: call.reply(
            {"outcome": an_outcome("web", "ready"), "done": False}, continues=True
        )
        answers = client.stream("Start", {"names": ["web"], "wait": True})
        assert next(answers)["outcome"]["name"] == "web"
        daemon.answers["Start"] = with_outcomes(an_outcome("web", "unchanged"))
        daemon.replace_supervisor()
        assert [answer["done"] for answer in answers] == [False, True]
        assert [method for method, _ in daemon.asked] == ["Start", "Start"]
        daemon.replace_supervisor()
        assert client.call("Version") == {"version": "9.8.7"}


def test_what_must_not_be_said_twice_ends_with_a_clear_word() -> None:
    """A restart whose answer is lost may have happened: it is never sent again."""
    with FakeDaemon() as daemon, Client(daemon.path) as client:
        daemon.answers["Restart"] = lambda _call: daemon.replace_supervisor()
        with pytest.raises(ReplacedError, match="replaced before it answered") as lost:
            client.call("Restart", {"names": ["web"], "wait": False})
        assert lost.value.exit_code == 1
        assert [method for method, _ in daemon.asked] == ["Restart"]


def test_a_restart_that_says_what_was_seen_before_may_be_said_twice() -> None:
    """The daemon restarts nobody again that began after the client's look."""
    with FakeDaemon() as daemon, Client(daemon.path) as client:

        def first(_call: Call) -> None:
            daemon.answers["Restart"] = lambda call: call.reply({"done": True})
            daemon.replace_supervisor()

        daemon.answers["Restart"] = first
        asked = {"names": ["web"], "wait": False, "begun_by_s": 12.5}
        assert client.call("Restart", asked) == {"done": True}
        assert daemon.asked == [("Restart", asked)] * 2


def test_a_daemon_that_ends_in_the_middle_is_no_daemon() -> None:
    """Waiting for an answer ends when there is nobody left to give it."""
    daemon = FakeDaemon()
    with daemon, Client(daemon.path) as client:
        thread = threading.Thread(target=_end_when_asked, args=(daemon, "Start"))
        thread.start()
        with pytest.raises(NoDaemonError, match="no daemon answers at") as gone:
            list(client.stream("Start", {"names": ["web"], "wait": True}))
        thread.join()
        assert gone.value.exit_code == 3
        assert client.wait_until_gone()


def _end_when_asked(daemon: FakeDaemon, method: str) -> None:
    wait_until(lambda: any(m == method for m, _ in daemon.asked), what=f"{method} is asked")
    daemon.end()


def test_the_two_ways_of_nobody_there_are_told_apart(tmp_path: Path) -> None:
    """No socket is another mistake than a socket that was left behind."""
    with pytest.raises(NoDaemonError) as missing:
        Client(str(tmp_path / "no/control.sock"))
    assert "there is no socket" in missing.value.hint
    left_behind = listen()
    path = left_behind.getsockname()
    left_behind.close()
    with pytest.raises(NoDaemonError) as refused:
        Client(path)
    assert refused.value.hint.startswith("the socket exists, but nobody listens")
    (tmp_path / "file").touch()
    with pytest.raises(NoDaemonError) as no_socket:
        Client(str(tmp_path / "file"))
    assert no_socket.value.hint == "that is not a socket"


def test_a_socket_with_a_long_path_is_reached(tmp_path: Path) -> None:
    """The kernel takes 107 bytes of address; the path may be longer."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with FakeDaemon() as daemon:
        os.link(daemon.path, folder / "control.sock")
        with Client(str(folder / "control.sock")) as client:
            assert client.call("Version") == {"version": "9.8.7"}


def test_a_silent_daemon_is_given_up_on() -> None:
    """A daemon that hangs is exit 3, not a command that hangs too."""
    with FakeDaemon() as daemon:
        daemon.answers["Status"] = lambda _call: None
        with (
            Client(daemon.path, answer_timeout_s=0.05) as client,
            pytest.raises(NoAnswerError, match="does not answer") as silent,
        ):
            client.call("Status")
        assert silent.value.exit_code == 3


def test_a_full_queue_is_waited_for() -> None:
    """Two hundred clients at once is no reason to fail."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    spare = listen()
    path = Path(spare.getsockname()).with_name("full.sock")
    listener.bind(str(path))
    listener.listen(0)
    waiting = []
    for _ in range(2):
        waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        waiting[-1].setblocking(False)
        if waiting[-1].connect_ex(str(path)):
            break
    with pytest.raises(NoAnswerError):
        Client(str(path), answer_timeout_s=0.05)

    def drain() -> None:
        for _ in range(2):
            listener.accept()[0].close()

    drained = threading.Thread(target=drain)
    drained.start()
    Client(str(path)).close()
    drained.join()
    for each in (listener, spare, *waiting):
        each.close()


def test_who_answers_nonsense_is_no_daemon() -> None:
    """Another program's socket is recognised."""

    def be_another(connected: socket.socket) -> None:
        connected.recv(1000)
        connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\0")

    with (
        scripted(be_another) as path,
        Client(path) as client,
        pytest.raises(NoDaemonError, match="no supervisord-lite"),
    ):
        client.call("Version")


def test_a_daemon_that_always_hangs_up_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is said again for a while only, not for ever."""
    monkeypatch.setattr("supervisord_lite.control.client.AGAIN_S", 0.1)

    def hang_up(_call: Call) -> None:
        daemon.replace_supervisor()

    with FakeDaemon() as daemon, Client(daemon.path) as client:
        daemon.answers["Status"] = hang_up
        with pytest.raises(NoDaemonError, match="hangs up without an answer"):
            client.call("Status")
        assert len(daemon.asked) > 1


def test_the_end_of_a_daemon_is_noticed_without_asking_again_and_again() -> None:
    """A pending connection of a dying daemon ends together with its socket."""
    daemon = FakeDaemon()
    with daemon, Client(daemon.path) as client:
        assert not client.wait_until_gone(timeout_s=0.05)
        assert not client.is_gone()
        daemon.replace_supervisor()
        wait_until(lambda: daemon.replaced == 1, what="it is replaced")
        assert not client.is_gone(), "an end of the connection is none of the daemon"
        thread = threading.Thread(target=daemon.end)
        thread.start()
        assert client.wait_until_gone(timeout_s=30)
        thread.join()
        assert client.is_gone()


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root: to ask as another user")
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_user_who_may_not_ask_is_told_so(mode: int) -> None:
    """Closed by its mode or by the daemon's judgement: exit 5, with the user's name."""

    def hang_up(connected: socket.socket) -> None:
        connected.close()

    with scripted(*[hang_up] * (3 if mode == 0o666 else 0)) as path:
        Path(path).parent.chmod(0o755)
        Path(path).chmod(mode)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setgid(65534)
                os.setuid(65534)
                with Client(path) as client:
                    client.call("Status")
            except NotPermittedError as error:
                status = error.exit_code if "(uid 65534)" in str(error) else 1
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
