"""The control server against clients that are normal, many, slow, rude or not invited."""

import errno
import os
import socket
import sys
from pathlib import Path

import pytest
import varlink as pypi_varlink

from supervisord_lite.control import connection, interface, parameters, server
from supervisord_lite.control.calls import Call
from supervisord_lite.wire.errors import WireError
from tests.support.control import MANAGER, Bench, FakeDaemon, a_worker, an_outcome, ask, echo
from tests.support.control import with_outcomes as outcomes

pytestmark = pytest.mark.process
GET_INFO = {"method": "org.varlink.service.GetInfo"}


def test_the_service_describes_itself() -> None:
    """Any varlink tool can find out what the daemon offers."""
    with Bench() as bench:
        client = bench.connect()
        bench.say(client, GET_INFO)
        (info,) = bench.hear(client)
        assert info["parameters"]["version"] == "1.2.3"
        assert info["parameters"]["interfaces"] == ["org.varlink.service", MANAGER]

        for name in info["parameters"]["interfaces"]:
            question = {"method": "org.varlink.service.GetInterfaceDescription"}
            bench.say(client, question | {"parameters": {"interface": name}})
            (answer,) = bench.hear(client)
            assert f"interface {name}\n" in answer["parameters"]["description"]


def test_the_definition_names_every_method_and_its_parameters() -> None:
    """What is checked here against the text is what other programs read out of it."""
    methods = interface.methods_of(interface.manager_description())
    parsed = pypi_varlink.Interface(interface.manager_description())

    for name, names in methods.items():
        assert tuple(parsed.get_method(name).in_type.fields) == names
    for name in ("Status", "Start", "Stop", "Restart", "Reset", "Signal", "Shutdown", "LogFiles"):
        assert name in methods
    for error in (interface.NO_SUCH_WORKER, interface.NOT_PERMITTED, interface.REFUSED):
        assert error.rpartition(".")[2] in parsed.members
    assert {"Failed", "Malformed"} <= set(parsed.members)


@pytest.mark.parametrize(
    ("request_", "error", "about"),
    [
        ({"method": "org.example.No"}, "InterfaceNotFound", {"interface": "org.example"}),
        ({"method": "__class__"}, "InterfaceNotFound", {"interface": ""}),
        ({"method": f"{MANAGER}.No"}, "MethodNotFound", {"method": f"{MANAGER}.No"}),
        (
            {"method": "org.varlink.service.No"},
            "MethodNotFound",
            {"method": "org.varlink.service.No"},
        ),
        (
            {
                "method": "org.varlink.service.GetInterfaceDescription",
                "parameters": {"interface": "org.example"},
            },
            "InterfaceNotFound",
            {"interface": "org.example"},
        ),
        (
            {"method": "org.varlink.service.GetInterfaceDescription"},
            "InvalidParameter",
            {"parameter": "interface"},
        ),
        (ask("Status", nmes=[]), "InvalidParameter", {"parameter": "nmes"}),
        (ask("Status", names="web"), "InvalidParameter", {"parameter": "names"}),
        (ask("Status", names=[1]), "InvalidParameter", {"parameter": "names"}),
        (ask("Status", names=[""]), "InvalidParameter", {"parameter": "names"}),
        (ask("Start", names=["web"], wait=1), "InvalidParameter", {"parameter": "wait"}),
        (ask("Start", wait=True), "InvalidParameter", {"parameter": "names"}),
        (ask("Restart", begun_by_s=True), "InvalidParameter", {"parameter": "begun_by_s"}),
        (ask("Restart", begun_by_s="1"), "InvalidParameter", {"parameter": "begun_by_s"}),
        (ask("Signal", names=["web"]), "InvalidParameter", {"parameter": "signal"}),
        (
            {"method": f"{MANAGER}.Status", "parameters": []},
            "InvalidParameter",
            {"parameter": "parameters"},
        ),
        ({"method": f"{MANAGER}.Status", "more": 1}, "InvalidParameter", {"parameter": "more"}),
        (
            {"method": f"{MANAGER}.Status", "upgrade": True},
            "InvalidParameter",
            {"parameter": "upgrade"},
        ),
    ],
)
def test_a_wrong_request_gets_varlinks_own_error(
    request_: dict[str, object], error: str, about: dict[str, str]
) -> None:
    """Whoever writes a client reads what was wrong, and may go on on the same connection."""

    def handle(call: Call) -> None:
        if call.method == "Status":
            parameters.names(call)
        elif call.method == "Start":
            parameters.names(call, needed=True)
            parameters.flag(call, "wait")
        elif call.method == "Restart":
            parameters.number(call, "begun_by_s")
        elif call.method == "Signal":
            parameters.text(call, "signal")
        call.reply({})

    with Bench(handle) as bench:
        client = bench.connect()
        bench.say(client, request_, GET_INFO)
        first, second = bench.hear(client)
        assert first == {"error": f"org.varlink.service.{error}", "parameters": about}
        assert second["parameters"]["product"] == "supervisord-lite"


def test_parameters_that_are_left_out_or_null_have_their_empty_value() -> None:
    """PyPI's client drops what is empty."""
    seen = []

    def handle(call: Call) -> None:
        seen.append((parameters.names(call), parameters.flag(call, "wait")))
        call.reply({})

    with Bench(handle) as bench:
        client = bench.connect()
        bench.say(client, {"method": f"{MANAGER}.Start"})
        bench.say(client, ask("Start", names=None, wait=None))
        bench.say(client, {"method": f"{MANAGER}.Start", "parameters": None, "more": None})
        assert bench.hear(client) == [{"parameters": {}}] * 3
    assert seen == [((), False)] * 3


def test_pypis_client_works() -> None:
    """Scripts may use the varlink package instead of the command."""
    with FakeDaemon([a_worker("web", note=None)]) as daemon:
        daemon.answers["Start"] = outcomes(an_outcome("web", "ready"))
        with (
            pypi_varlink.Client(f"unix:{daemon.path}") as client,
            client.open(MANAGER) as manager,
        ):
            assert client.get_interfaces()
            assert manager.Version()["version"] == "9.8.7"
            assert manager.Status()["workers"][0]["name"] == "web"
            replies = list(manager.Start(["web"], True, _more=True))
            assert [reply.get("outcome", {}).get("outcome") for reply in replies] == ["ready", None]
            with pytest.raises(pypi_varlink.VarlinkError, match="NoSuchWorker"):
                manager.Status(["wbe"])


def test_pipelined_requests_are_answered_in_order() -> None:
    """Many requests may be sent at once; each is begun when the one before has been answered."""
    with Bench() as bench:
        client = bench.connect()
        bench.say(client, ask("Start"), ask("Stop"), *[GET_INFO] * 100)
        assert [call.method for call in bench.calls] == ["Start"]
        bench.calls[0].reply({"n": 1})
        bench.settle()
        assert [call.method for call in bench.calls] == ["Start", "Stop"]
        bench.calls[1].reply({"n": 2})
        bench.settle()

        answers = bench.hear(client)

    assert [answer["parameters"].get("n") for answer in answers] == [1, 2, *[None] * 100]


def test_a_flood_of_small_requests_leaves_the_loop_to_others() -> None:
    """One client that sends hundreds of requests at once does not keep a second one waiting."""
    answered: list[str] = []

    def handle(call: Call) -> None:
        answered.append(call.method)
        call.reply({})

    with Bench(handle) as bench:
        rude, polite = bench.connect(), bench.connect()
        bench.settle()
        rude.send(b'{"method":"io.supervisordlite.Manager.Version"}\0' * 300)
        bench.loop.turn()
        assert len(answered) == connection.CALLS_PER_TURN
        polite.send(b'{"method":"io.supervisordlite.Manager.Version"}\0')
        bench.loop.turn()
        bench.loop.turn()
        assert len(bench.hear(polite)) == 1
        assert len(bench.hear(rude)) == 300


def test_only_a_client_that_asked_for_more_gets_more() -> None:
    """A client that cannot take a stream gets the last reply, one that wants none gets none."""
    with Bench(outcomes(an_outcome("a", "ready"), an_outcome("b", "ready"))) as bench:
        client = bench.connect()
        bench.say(client, ask("Start"))
        assert bench.hear(client) == [{"parameters": {"outcome": None, "done": True}}]
        bench.say(client, ask("Start") | {"more": True})
        assert [bool(a.get("continues")) for a in bench.hear(client)] == [True, True, False]
        bench.say(client, ask("Start") | {"oneway": True}, GET_INFO)
        (only,) = bench.hear(client)
        assert "vendor" in only["parameters"]


def test_a_handler_that_fails_ends_one_call_and_nothing_else() -> None:
    """A fault behind one method is told to the log and to its caller; the daemon goes on."""

    def handle(call: Call) -> None:
        if call.method == "Start":
            raise ZeroDivisionError
        call.reply({"x": object()} if call.method == "Stop" else {})

    with Bench(handle) as bench:
        client = bench.connect()
        bench.say(client, ask("Start"), ask("Stop"), ask("Version"))
        first, second, third = bench.hear(client)
    assert first == {"error": f"{MANAGER}.Failed", "parameters": {"method": "Start"}}
    assert second == {"error": f"{MANAGER}.Failed", "parameters": {"method": "Stop"}}
    assert third == {"parameters": {}}
    assert [fault.partition(":")[0] for fault in bench.faults] == ["Start", "Stop"]


@pytest.mark.parametrize(
    "junk",
    [
        b"\0",
        b"{}\0",
        b"nonsense\0",
        b'{"method":1}\0',
        b"[" * 100000 + b"\0",
        b"\xff" * 1000 + b"\0",
        b" " * 70000,
        b'{"parameters":{}}\0',
    ],
)
def test_junk_is_told_and_hung_up_on(junk: bytes) -> None:
    """No input stops the daemon: who talks nonsense hears so, and others are served."""
    with Bench(echo) as bench:
        rude, polite = bench.connect(), bench.connect()
        rude.setblocking(True)
        rude.settimeout(0.0)
        sent_bytes = 0
        while sent_bytes < len(junk):
            try:
                sent_bytes += rude.send(junk[sent_bytes:])
            except OSError:  # closed on us before we were done
                break
            bench.settle()
        bench.settle()
        heard = b""
        try:
            heard = rude.recv(1000)
        except OSError as error:
            assert error.errno == errno.ECONNRESET  # noqa: PT017
        assert b"Malformed" in heard
        assert bench.is_closed(rude)
        bench.say(polite, ask("Version"))
        assert bench.hear(polite)[0]["parameters"]["method"] == "Version"
        assert bench.connection_count == 1


def test_junk_behind_a_waiting_call_ends_the_connection_without_a_false_answer() -> None:
    """An error then would be read as the answer to the call that waits."""
    with Bench() as bench:
        client = bench.connect()
        bench.say(client, ask("Start"))
        client.send(b"nonsense\0")
        bench.settle()
        assert bench.hear(client) == []
        assert bench.is_closed(client)


def test_an_unfinished_request_has_five_seconds() -> None:
    """A hundred clients that send a byte now and then are all gone after five seconds."""
    with Bench() as bench:
        slow = [bench.connect() for _ in range(100)]
        idle, waiting = bench.connect(), bench.connect()
        bench.say(waiting, ask("Start"))
        for client in slow:
            client.send(b"{")
        bench.settle()
        for _ in range(4):
            bench.clock.s += 1.0
            for client in slow:
                client.send(b" ")
            bench.settle()
        assert bench.connection_count == 102
        bench.clock.s += 1.0
        assert bench.server.next_deadline_s() == bench.clock.s
        bench.settle()

        assert bench.connection_count == 2
        assert bench.server.expired == 100
        assert all(bench.is_closed(client) for client in slow)
        bench.clock.s += 3600.0
        bench.settle()
        assert not bench.is_closed(idle)
        assert not bench.is_closed(waiting)
        assert bench.server.next_deadline_s() is None


def test_a_client_that_never_reads_is_dropped() -> None:
    """What waits for a client is bounded in size and time."""
    with Bench(lambda call: call.reply({"x": "y" * (4 << 20)})) as bench:
        client = bench.connect()
        bench.say(client, *[ask("Version")] * 50)
        assert bench.connection_count == 1
        bench.clock.s += connection.WRITE_TIMEOUT_S
        bench.settle()
        assert bench.connection_count == 0
        assert bench.server.expired == 1


def test_a_slow_reader_is_waited_for_as_long_as_it_reads() -> None:
    """A large answer over a slow terminal takes its time."""
    with Bench(lambda call: call.reply({"x": "y" * (4 << 20)})) as bench:
        client = bench.connect()
        bench.say(client, ask("Version"))
        received_bytes = 0
        while received_bytes < 4 << 20:
            bench.clock.s += connection.WRITE_TIMEOUT_S - 0.1
            received_bytes += len(client.recv(1 << 20))
            bench.settle()
        assert bench.connection_count == 1


def test_one_answer_may_be_as_large_as_the_fleet() -> None:
    """The bound is for what comes behind an answer that nobody reads."""
    with Bench(lambda call: call.reply({"x": "y" * (12 << 20)})) as bench:
        client = bench.connect()
        bench.say(client, ask("Status"))
        received_bytes = 0
        while received_bytes < 12 << 20:
            piece = client.recv(1 << 20)
            assert piece, "hung up on"
            received_bytes += len(piece)
            bench.settle()
        assert bench.connection_count == 1


def test_a_stream_nobody_reads_is_cut_at_its_bound() -> None:
    """Eight megabytes are the most that the daemon keeps for one client."""
    with Bench() as bench:
        client = bench.connect()
        bench.say(client, ask("Start") | {"more": True})
        (call,) = bench.calls
        hung_up = []
        call.on_hang_up = lambda: hung_up.append(bench.clock.s)
        for _ in range(20):
            call.reply_raw(b'{"x":"' + b"y" * (1 << 20) + b'"}', continues=True)
            assert not hung_up, "never from inside reply"
        assert call.closed
        bench.settle()
        assert hung_up == [bench.clock.s]
        assert bench.connection_count == 0


def test_who_hangs_up_is_forgotten_and_what_was_ordered_goes_on() -> None:
    """The handler hears once that nobody waits any more, and may still answer."""
    with Bench() as bench:
        client = bench.connect()
        bench.say(client, ask("Start"))
        (call,) = bench.calls
        hung_up: list[str] = []
        call.on_hang_up = lambda: hung_up.append("once")
        client.close()
        bench.settle()
        assert hung_up == ["once"]
        assert call.closed
        call.reply({"done": True})
        bench.settle()
        assert bench.connection_count == 0


@pytest.mark.parametrize("more", [[], [GET_INFO]])
def test_a_client_that_only_ends_its_side_gets_its_answers(more: list[dict[str, str]]) -> None:
    """`printf … | nc -N` works: the end of the questions is not the end of the client."""
    with Bench() as bench:
        client = bench.connect()
        bench.say(client, ask("Start"), *more)
        client.shutdown(socket.SHUT_WR)
        bench.settle()
        assert not bench.calls[0].closed
        bench.calls[0].reply({"done": True})
        bench.settle()
        assert len(bench.hear(client)) == 1 + len(more)
        assert bench.is_closed(client)


def test_a_raw_reply_is_sent_as_it_is() -> None:
    """A status joined from ready-made parts costs no encoding."""
    with Bench(lambda call: call.reply_raw(b'{"workers":[{"name":"web"}]}')) as bench:
        client = bench.connect()
        bench.say(client, ask("Status"))
        assert bench.hear(client) == [{"parameters": {"workers": [{"name": "web"}]}}]


def test_a_reply_that_json_does_not_know_is_the_callers_fault_and_sends_nothing() -> None:
    """A late answer can be corrected."""
    with Bench() as bench:
        client = bench.connect()
        bench.say(client, ask("Start"))
        with pytest.raises(WireError):
            bench.calls[0].reply({"x": float("inf")})
        bench.calls[0].reply({})
        assert bench.hear(client) == [{"parameters": {}}]


def test_the_server_costs_the_supervisor_no_heavy_import() -> None:
    """The always-running process stays small: no asyncio, argparse, logging, re or subprocess."""
    script = (
        "import sys; import supervisord_lite.control.server; "
        "print(*sorted({'asyncio', 'argparse', 'logging', 'subprocess', 'pathlib', 'typing', "
        "'supervisord_lite.control.client'} & set(sys.modules)))"
    )
    # json needs re itself: that is there in any case.
    read, write = os.pipe()
    root = str(Path(server.__file__).parents[2])
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {root!r}); {script}"],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )
    os.close(write)
    with open(read, encoding="ascii") as pipe:
        assert pipe.read().split() == []
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
