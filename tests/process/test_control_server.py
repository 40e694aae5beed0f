"""The control server against clients that are normal, many, slow, rude or not invited."""

import errno
import os
import resource
import socket
import sys
from pathlib import Path

import pytest
import varlink as pypi_varlink

from supervisord_lite.control import connection, interface, parameters, server
from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.wire.errors import WireError
from tests.support.control import MANAGER, Bench, FakeDaemon, a_worker, an_outcome, ask
from tests.support.control import with_outcomes as outcomes

pytestmark = pytest.mark.process
GET_INFO = {"method": "org.varlink.service.GetInfo"}


def echo(call: Call) -> None:
    """Answer with what was asked."""
    call.reply({"method": call.method, "parameters": call.parameters})


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
        assert bench.server.connection_count == 1


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
        assert bench.server.connection_count == 102
        bench.clock.s += 1.0
        assert bench.server.next_deadline_s() == bench.clock.s
        bench.settle()

        assert bench.server.connection_count == 2
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
        assert bench.server.connection_count == 1
        bench.clock.s += connection.WRITE_TIMEOUT_S
        bench.settle()
        assert bench.server.connection_count == 0
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
        assert bench.server.connection_count == 1


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
        assert bench.server.connection_count == 0


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
        assert bench.server.connection_count == 0


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


def test_strangers_are_hung_up_on_before_a_byte_is_read() -> None:
    """Who may not ask cannot even make the daemon parse."""
    peers: list[Peer] = []

    def allowed(peer: Peer) -> bool:
        peers.append(peer)
        return False

    with Bench(allowed=allowed) as bench:
        client = bench.connect()
        client.send(b"nonsense")
        bench.settle()
        assert bench.is_closed(client)
        assert bench.server.refused == 1
        assert bench.server.connection_count == 0
    (peer,) = peers
    groups = tuple(os.getgroups())
    assert peer == Peer(pid=os.getpid(), uid=os.getuid(), gid=os.getgid(), groups=groups)


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root: to ask as another user")
def test_another_user_is_judged_by_the_kernels_word() -> None:
    """The uid comes from the kernel, frozen when the other side connected."""
    with Bench(echo, allowed=lambda peer: peer.uid == 0) as bench:
        path = Path(bench.listener.getsockname())
        path.parent.chmod(0o755)
        path.chmod(0o666)
        pid = os.fork()
        if pid == 0:
            os.setgid(65534)
            os.setuid(65534)
            stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            stranger.connect(str(path))
            try:
                stranger.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
                os._exit(0 if stranger.recv(100) == b"" else 1)
            except (ConnectionError, BrokenPipeError):
                os._exit(0)
        while bench.server.refused == 0:
            bench.loop.turn(10.0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_two_hundred_clients_at_once_are_all_served() -> None:
    """A deploy script that asks in parallel gets its answers."""
    with Bench(echo) as bench:
        clients = [bench.connect() for _ in range(200)]
        for client in clients:
            client.send(b'{"method":"io.supervisordlite.Manager.Version"}\0')
        bench.settle()
        assert all(len(bench.hear(client)) == 1 for client in clients)


def test_in_a_full_house_the_longest_silent_gives_way_at_once() -> None:
    """Hundreds of idle connections keep nobody waiting, and who talks is not hung up on."""
    with Bench(echo) as bench:
        crowd = [bench.connect() for _ in range(server.MAX_CONNECTIONS)]
        bench.settle()
        bench.clock.s += 0.001
        bench.say(crowd[0], ask("Version"))
        crowd[1].send(b"{")  # part of a request is no call
        operator = bench.connect()
        bench.say(operator, ask("Version"))

        assert len(bench.hear(operator)) == 1
        assert len(bench.hear(crowd[0])) == 1
        assert [i for i, client in enumerate(crowd) if bench.is_closed(client)] == [2]
        assert bench.server.connection_count == server.MAX_CONNECTIONS
        assert bench.server.expired == 1


def test_whoever_came_before_a_flood_of_silent_ones_is_heard() -> None:
    """Those who never speak push out each other first."""
    with Bench(echo) as bench:
        for _ in range(200):
            bench.connect()
        operator = bench.connect()
        operator.send(b'{"method":"io.supervisordlite.Manager.Version"}\0')
        for _ in range(200):
            bench.connect()
        bench.settle()

        assert len(bench.hear(operator)) == 1
        assert bench.server.connection_count == server.MAX_CONNECTIONS


def test_strangers_push_nobody_out() -> None:
    """Only who may ask is given another's place."""
    invited = server.MAX_CONNECTIONS
    with Bench(echo, allowed=lambda _peer: bench.server.connection_count < invited) as bench:
        crowd = [bench.connect() for _ in range(invited)]
        stranger = bench.connect()
        bench.settle()

        assert bench.is_closed(stranger)
        assert not any(bench.is_closed(client) for client in crowd)


def test_a_place_that_becomes_free_is_given_away_at_once() -> None:
    """While nobody is idle, the next one comes in when somebody leaves."""
    with Bench() as bench:
        crowd = [bench.connect() for _ in range(server.MAX_CONNECTIONS)]
        for client in crowd:
            client.send(b'{"method":"io.supervisordlite.Manager.Start"}\0')
        bench.settle()
        late = bench.connect()
        bench.say(late, ask("Stop"))
        assert bench.calls[-1].method == "Start"
        assert bench.server.next_deadline_s() is None, "it rests"
        crowd[7].close()
        bench.settle()
        assert bench.calls[-1].method == "Stop"


def test_an_answered_client_gives_its_place_to_one_who_waits() -> None:
    """Also when the answer is given outside of the loop's callbacks, and nothing else happens."""
    with Bench() as bench:
        crowd = [bench.connect() for _ in range(server.MAX_CONNECTIONS)]
        for client in crowd:
            client.send(b'{"method":"io.supervisordlite.Manager.Start"}\0')
        bench.settle()
        late = bench.connect()
        bench.say(late, ask("Stop"))
        bench.calls[7].reply({})
        assert bench.server.next_deadline_s() == bench.clock.s
        bench.settle()
        assert bench.calls[-1].method == "Stop"
        assert sum(bench.is_closed(client) for client in crowd) == 1


def test_without_descriptors_the_loop_rests_and_the_client_is_served_later() -> None:
    """EMFILE at accept pauses accepting for a second; nobody spins, nobody is lost."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Bench(echo) as bench:
        client = bench.connect()
        client.send(b'{"method":"io.supervisordlite.Manager.Version"}\0')
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            bench.settle()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert bench.server.next_deadline_s() == bench.clock.s + server.ACCEPT_PAUSE_S
        assert not bench.loop.is_watched(bench.listener.fileno())
        bench.clock.s += server.ACCEPT_PAUSE_S
        bench.settle()
        assert len(bench.hear(client)) == 1
        assert bench.faults == []


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
