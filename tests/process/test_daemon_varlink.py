"""The daemon as a foreign program sees it: PyPI's varlink client, and what we promise it."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import varlink

from supervisord_lite import __version__
from supervisord_lite.base.resident import own_code
from tests.support.daemon import Daemon
from tests.support.varlink_types import mismatches
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

MANAGER = "io.supervisordlite.Manager"
SERVICE = "org.varlink.service"
SLEEP = "command = ['/bin/sleep', '1000']\nready = 'spawned'\n"
FLEET = f"""
[worker.web]
{SLEEP}pool_size = 2
[worker.job]
command = ["true"]
ready = "exit"
[worker.broken]
command = ["sh", "-c", "exit 3"]
max_restarts = 1
[worker.behind]
{SLEEP}requires = ["broken"]
[worker.off]
{SLEEP}autostart = false
limits.pids = 20
[worker.only]
{SLEEP}singleton = true
"""


class Foreign:
    """PyPI's client, which knows of us only what we say of ourselves.

    Attributes:
        called: Methods that have been called.
        failed: Errors that were answered, by their bare names.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.called: set[str] = set()
        self.failed: set[str] = set()
        self._client = varlink.Client(f"unix:{daemon.control_path}")
        self._client.get_interfaces()
        self.interface: Any = self._client.get_interface(MANAGER)
        self._handler: Any = self._client.open(MANAGER)
        self._heard: list[str] = []
        said = self._handler._next_message

        def overheard() -> Iterator[str]:
            for message in said():
                self._heard.append(message)
                yield message

        self._handler._next_message = overheard

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Return the one reply; it is what the definition says."""
        self.called.add(method)
        try:
            reply: dict[str, Any] = getattr(self._handler, method)(**parameters)
        finally:
            self._check(method)
        return reply

    def stream(self, method: str, **parameters: object) -> Iterator[dict[str, Any]]:
        """Yield each reply; all are what the definition says."""
        self.called.add(method)
        for reply in getattr(self._handler, method)(**parameters, _more=True):
            self._check(method)
            yield reply

    def tell(self, method: str, **parameters: object) -> None:
        """Call, and want no answer."""
        self.called.add(method)
        getattr(self._handler, method)(**parameters, _oneway=True)

    def fails(self, method: str, **parameters: object) -> dict[str, Any]:
        """Return the parameters of the error that must come; they are as declared."""
        with pytest.raises(varlink.VarlinkError) as caught:
            self.call(method, **parameters)
        return self.take_error(caught.value)

    def take_error(self, error: varlink.VarlinkError) -> dict[str, Any]:
        """Check an error against its declaration."""
        interface, _, name = error.error().rpartition(".")
        assert interface == MANAGER, error
        self.failed.add(name)
        found: dict[str, Any] = error.parameters()
        declared = self.interface.members[name].type
        assert list(mismatches(self.interface, declared, found, name)) == []
        return found

    def _check(self, method: str) -> None:
        declared = self.interface.get_method(method).out_type
        heard, self._heard = self._heard, []
        for message in map(json.loads, heard):
            assert message.keys() <= {"parameters", "continues", "error"}
            if "error" not in message:
                parameters = message.get("parameters", {})
                assert list(mismatches(self.interface, declared, parameters, method)) == []

    def close(self) -> None:
        self._handler.close()


@contextmanager
def foreign(daemon: Daemon) -> Iterator[Foreign]:
    """Yield a client that has found out by itself what there is."""
    client = Foreign(daemon)
    try:
        yield client
    finally:
        client.close()


def names_of(interface: Any, kind: str) -> set[str]:
    """Return the names of what an interface declares: "_Method", "_Error"."""
    return {name for name, each in interface.members.items() if type(each).__name__ == kind}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"name": "a", "size": 1, "more": [], "kind": "one"}, []),
        ({"name": "a", "size": 1, "more": [{"x": 1.0}, {"x": 2}], "note": None, "kind": "two"}, []),
        ({"name": "a", "size": True, "more": [{"x": "1"}], "note": 1, "kind": "three"}, [
            "r.size: True is not 0", "r.more[0].x: '1' is not 0.0", "r.note: 1 is not ''",
        ]),
        ({"name": None, "size": 1.0, "more": {}, "extra": 1, "kind": "one"}, [
            "r.extra: declared nowhere", "r.name: None is not ''", "r.size: 1.0 is not 0",
        ]),
    ],
)  # fmt: skip
def test_a_reply_that_breaks_the_promise_is_found(value: object, wrong: list[str]) -> None:
    """The check of this file is strict where the package's own is lenient."""
    text = (
        "interface a.b\ntype K (one, two)\ntype P (x: float)\n"
        "type T (name: string, size: int, more: []P, note: ?string, kind: K)\n"
    )
    interface = varlink.Interface(text)
    found = list(mismatches(interface, interface.members["T"].type, value, "r"))
    assert [each for each in found if " is not <" not in each] == wrong
    assert (found == []) == (wrong == [])


def test_every_method_answers_as_it_is_declared() -> None:
    """Workers in every state, each method of the definition, each field of each reply."""
    with Daemon(FLEET) as daemon, foreign(daemon) as client:
        daemon.wait_state("broken", "tripped")
        daemon.wait_state("behind", "waiting")
        daemon.wait_state("job", "exited")
        states = {w["name"]: w["state"] for w in client.call("Status", names=[])["workers"]}
        assert states["web-2"] == "running"
        assert len(next(client.stream("Watch"))["workers"]) == len(states)

    with Daemon(FLEET) as daemon, foreign(daemon) as client:
        assert len(client.call("Watch")["workers"]) == len(states), "once, for who wants one"
        daemon.wait_state("job", "exited")
        briefly = client.call("States", names=[])["states"]
        assert list(briefly) == list(states)
        assert (briefly["job"], briefly["off"]) == ("exited", "stopped")
        told = list(client.stream("Wait", names=["job"], goal="exited"))
        assert [reply["done"] for reply in told] == [False, True]
        told = list(client.stream("Stop", names=["web-1"], wait=True))
        assert told[0]["outcome"]["outcome"] == "stopped"
        assert list(client.stream("Start", names=["web-1", "off"], wait=True))[-1]["done"]
        assert list(client.stream("Restart", names=["web"], wait=True))[-1]["done"]
        assert list(client.stream("Reset", names=["web"], wait=True))[-1]["done"]
        assert client.call("Signal", names=["web"], signal="SIGCONT") == {"sent": 2}
        assert client.call("Scale", sizes={"web": 3})["pools"][0]["new"] == 3
        digest = hashlib.sha256(daemon.config.read_bytes()).hexdigest()
        file = str(daemon.config)
        saved = {"file": file, "before": digest, "after": digest}
        assert client.call("SizesSaved", sizes={"web": 3}, **saved) == {}
        assert client.call("LogFiles", names=["off"])["files"][0]["name"] == "off"
        assert client.call("Version")["version"]
        happened = client.call("Events", events=["worker.*"], names=["web"])
        assert {event["event"] for event in happened["events"]} >= {
            "worker.started",
            "worker.ready",
        }
        assert client.call("Why", names=["job"])["workers"][0]["worker"]["name"] == "job"
        daemon.write(FLEET.replace("pool_size = 2", "pool_size = 1\nnice = 1\numask = '077'"))
        assert client.call("Reload", dry_run=True)["changed"]
        assert client.call("Reload", dry_run=False)["modified"][0]["keys"]
        client.call("Status", names=[])
        interpreter, resident = own_code()
        tried = client.call("Upgrade", interpreter=interpreter, resident=resident, dry_run=True)
        assert tried == {"from": __version__, "to": __version__, "keeper": False, "done": False}
        assert client.call("Shutdown") == {}
        assert client.called == names_of(client.interface, "_Method")
        assert daemon.process is not None
        assert daemon.process.wait(20) == 0


def test_every_error_is_as_it_is_declared() -> None:
    """Whoever writes a client can rely on the fields of what goes wrong."""
    with Daemon(f"read = ['*']\n{FLEET}") as daemon, foreign(daemon) as client:
        assert client.fails("Status", names=["wbe"]) == {"name": "wbe", "suggestion": "web"}
        assert client.fails("Scale", sizes={"only": 2})["name"] == "only=2"
        daemon.write("[worker.web]\ncomand = ['x']\n")
        refused = client.fails("Reload", dry_run=False)
        assert refused["problems"][0]["line"] > 0
        status = client.call("Status", names=[])
        assert status["supervisor"]["config_errors"]["count"] >= 1
        nothing = {"sizes": {}, "file": "/x", "before": "x", "after": "x"}
        with pytest.raises(varlink.InvalidParameter, match="sizes"):
            client.call("SizesSaved", **nothing)
        with pytest.raises(varlink.VarlinkError) as one:
            client.call("Wait", names=[], goal="ready")
        assert one.value.error() == f"{SERVICE}.ExpectedMore"
        client.take_error(varlink.VarlinkError(malformed(daemon)))
        if os.getuid() == 0:
            client.take_error(varlink.VarlinkError(not_permitted(daemon)))
            # A fault of ours, which no client can bring about.
            assert names_of(client.interface, "_Error") - client.failed == {"Failed"}


def malformed(daemon: Daemon) -> dict[str, Any]:
    """Return what is answered to bytes that are no request."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10.0)
        connection.connect(str(daemon.control_path))
        connection.sendall(b"GET / HTTP/1.1\r\n\0")
        with connection.makefile("rb") as file:
            answer: dict[str, Any] = json.loads(file.read().rstrip(b"\0"))
    return answer


def not_permitted(daemon: Daemon) -> dict[str, Any]:
    """Return what is answered to a stop by somebody who may only read."""
    request = {"method": f"{MANAGER}.Stop", "parameters": {"names": ["web"]}}
    script = (
        "import os, socket, sys\n"
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(sys.argv[2].encode() + b'\\0')\n"
        "print(s.recv(65536).rstrip(b'\\0').decode())"
    )
    argv = [sys.executable, "-I", "-c", script, str(daemon.control_path), json.dumps(request)]
    answer: dict[str, Any] = json.loads(subprocess.check_output(argv, timeout=30))
    return answer


def test_who_follows_hears_of_each_change_and_who_wants_no_answer_gets_none() -> None:
    """`more` and `oneway`, on connections of a foreign client."""
    with Daemon(FLEET) as daemon, foreign(daemon) as follower, foreign(daemon) as client:
        daemon.wait_state("web-1", "running")
        news = follower.stream("Watch")
        next(news)

        client.tell("Stop", names=["web-1"], wait=False)

        assert client.call("Version")["version"], "the next answer is that of the next question"
        seen: list[str] = []
        while "stopped" not in seen:
            seen += [w["state"] for w in next(news)["workers"] if w["name"] == "web-1"]
        # One that answers once answers once, whoever asks for more.
        assert len(list(client.stream("Version"))) == 1
        # Who is waiting for more may hang up: the daemon goes on.
        follower.close()
        wait_until(daemon.answers, what="it answers")


def test_varlinks_own_tool_finds_its_way() -> None:
    """`info`, `help` and `call` of the command line that comes with the package."""
    with Daemon(FLEET) as daemon:

        def tool(*words: str) -> str:
            argv = [sys.executable, "-W", "ignore", "-m", "varlink.cli", *words]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
            assert done.returncode == 0, done.stderr
            return done.stdout

        address = f"unix:{daemon.control_path}"
        assert MANAGER in tool("info", address)
        assert "method Status(" in tool("help", f"{address}/{MANAGER}")
        answer = json.loads(tool("call", f"{address}/{MANAGER}.Version", "{}"))
        assert answer["version"]
