"""Who comes in at the control socket: no strangers, and as many as there is room for."""

import os
import resource
import socket
from pathlib import Path

import pytest

from supervisord_lite.control import server
from supervisord_lite.control.calls import Peer
from tests.support.control import Bench, ask, echo

pytestmark = pytest.mark.process


def a_busy_house(bench: Bench) -> list[socket.socket]:
    """Take all the room there is; return the clients, all of whom wait for an answer."""
    crowd = [bench.connect() for _ in range(server.MAX_CONNECTIONS)]
    for client in crowd:
        bench.say(client, ask("Start"))
    return crowd


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
        assert bench.connection_count == 0
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
        assert bench.connection_count == server.MAX_CONNECTIONS
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
        assert bench.connection_count == server.MAX_CONNECTIONS


def test_strangers_push_nobody_out() -> None:
    """Only who may ask is given another's place."""
    invited = server.MAX_CONNECTIONS
    with Bench(echo, allowed=lambda _peer: bench.connection_count < invited) as bench:
        crowd = [bench.connect() for _ in range(invited)]
        stranger = bench.connect()
        bench.settle()

        assert bench.is_closed(stranger)
        assert not any(bench.is_closed(client) for client in crowd)


def test_a_place_that_becomes_free_is_given_away_at_once() -> None:
    """While nobody is idle, the next one comes in when somebody leaves."""
    with Bench() as bench:
        crowd = a_busy_house(bench)
        bench.say(bench.connect(), ask("Stop"))
        assert bench.calls[-1].method == "Start"
        assert bench.server.next_deadline_s() is None, "it rests"
        crowd[7].close()
        bench.settle()
        assert bench.calls[-1].method == "Stop"


def test_an_answered_client_gives_its_place_to_one_who_waits() -> None:
    """Also when the answer is given outside of the loop's callbacks, and nothing else happens."""
    with Bench() as bench:
        crowd = a_busy_house(bench)
        bench.say(bench.connect(), ask("Stop"))
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
