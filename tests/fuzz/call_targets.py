"""Whole calls of the control socket: bytes of a client in, a real supervisor, its answers out.

The supervisor is the real one, with its verbs and rights; workers are entries in the table of a
keeper that the test plays, and nobody reads a disk for it.
"""

import json
import random  # noqa: TID251  # seeded, and the seed is printed
import socket
from typing import Any

from supervisord_lite.control import interface
from supervisord_lite.control.calls import Peer
from tests.fuzz import seen
from tests.fuzz.mutate import of_json, packed, unpacked
from tests.fuzz.target import JSON_BITS, Target
from tests.support.supervisor import Daemon

_PACKETS = 25
#: Root, who may read, who may operate one pool, and nobody in particular.
_PEERS = (
    Peer(1, 0, 0),
    Peer(1, 0, 0),
    Peer(1, 0, 0),
    Peer(2, 65534, 65534),
    Peer(3, 1, 1),
    Peer(4, 4242, 4242),
)
_NAMES: tuple[list[str], ...] = (
    ["web"],
    ["web-1"],
    ["all"],
    ["web*"],
    ["db", "job"],
    ["rank-2"],
    [],
    ["once"],
    ["ears"],
)
_DAY_S = 86_400.0
_PARAMETERS: dict[str, tuple[dict[str, Any], ...]] = {
    "Status": ({"names": ["web"], "samples": True}, {}),
    "Watch": ({},),
    "Wait": ({"names": ["web"], "goal": "ready", "since_s": 99.5},
             {"names": ["job"], "goal": "exited"}),
    "Start": ({"names": ["once"], "wait": True, "no_deps": False}, {"names": ["all"]}),
    "Stop": ({"names": ["web-1"], "wait": True}, {"names": ["db"]}),
    "Restart": ({"names": ["web"], "wait": True, "begun_by_s": 99.0}, {"names": ["rank"]}),
    "Reset": ({"names": ["all"], "wait": True},),
    "Signal": ({"names": ["web"], "signal": "SIGUSR1"},),
    "Scale": ({"sizes": {"web": 3}}, {"sizes": {"rank": 1, "web": 2}}),
    "SizesSaved": ({"sizes": {"web": 3}, "file": "/x.toml", "before": "0", "after": "1"},),
    "Reload": ({"dry_run": True}, {}),
    "LogFiles": ({"names": []},),
    "Events": ({"events": ["worker.*"], "names": ["web"], "most": 5, "after": "0-3"},
               {"follow": True, "since": "2026-01-01T00:00:00.000Z"}),
    "Why": ({"names": ["web"]},),
    "Upgrade": ({"interpreter": "/usr/bin/python3", "resident": "/x/y.py", "dry_run": True},),
    "Version": ({},),
    "Shutdown": ({},),
}  # fmt: skip


def _requests() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for method, variants in _PARAMETERS.items():
        for parameters in variants:
            name = f"{interface.MANAGER}.{method}"
            found.append({"method": name, "parameters": parameters, "more": True})
            found.append({"method": name, "parameters": parameters})
    found.append({"method": f"{interface.SERVICE}.GetInfo", "oneway": True})
    about = {"interface": interface.MANAGER}
    found.append({"method": f"{interface.SERVICE}.GetInterfaceDescription", "parameters": about})
    return found


_REQUESTS = _requests()
_made = of_json(_REQUESTS, JSON_BITS)
_parameters = {
    method: of_json([{"a": each} for each in variants], JSON_BITS)
    for method, variants in _PARAMETERS.items()
}


def _call(rng: random.Random) -> bytes:
    """Return a request of a method that there is, with parameters of all kinds."""
    method = rng.choice(list(_PARAMETERS))
    parameters = _parameters[method](rng)
    more = rng.choice((b"", b',"more":true', b',"more":true', b',"oneway":true'))
    if parameters.startswith(b'{"a": '):
        parameters = parameters[6:-1]
    return b'{"method":"%s.%s","parameters":%s%s}' % (
        interface.MANAGER.encode(), method.encode(), parameters, more,
    )  # fmt: skip


def _life(rng: random.Random) -> bytes:
    """Return what the clients of one supervisor say, and between that: time, ends of workers."""
    packets = [bytes([rng.randrange(256)])]
    for _ in range(_PACKETS):
        kind = rng.random()
        if kind < 0.08:
            packets.append(b"!" + bytes([rng.randrange(256)]))
        elif kind < 0.3:
            asked = rng.choice(_REQUESTS)
            if "names" in asked.get("parameters", {}):
                names = {"names": rng.choice(_NAMES)}
                asked = {**asked, "parameters": {**asked["parameters"], **names}}
            packets.append(json.dumps(asked).encode())
        elif kind < 0.8:
            packets.append(_call(rng))
        elif kind < 0.85:
            packets.append(_call(rng) + b"\0" + _made(rng))
        else:
            packets.append(_made(rng))
    return packed(packets)


class House:
    """A supervisor, and what went wrong in it."""

    def __init__(self, peer: Peer) -> None:
        self.daemon = Daemon(*seen.specs())
        self.daemon.write(*seen.specs())
        self.faults: list[str] = []
        supervisor = self.daemon.supervisor
        supervisor._server._on_fault = lambda doing, error: self.faults.append(
            f"{doing}: {error!r}"
        )
        supervisor._fleet.on_fault = lambda slot, error: self.faults.append(f"{slot}: {error!r}")
        self._peer = peer
        self._clients: list[socket.socket] = []
        self.daemon.settle()
        self.daemon.pass_s(1.0)

    def ask(self, data: bytes) -> list[dict[str, Any]] | None:
        """Let a client ask; return what it is told until now, None: it was hung up on."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._clients.append(client)
        client.connect(self.daemon._listener.getsockname())
        client.setblocking(False)
        self._turn()
        for connection in self.daemon.supervisor._server._connections:
            connection.peer = self._peer
            connection.rank = self.daemon.supervisor._rights.rank(self._peer)
        client.sendall(data[:60_000] + b"\0")
        said = b""
        for _ in range(3):
            self._turn()
            try:
                while piece := client.recv(1 << 16):
                    said += piece
            except BlockingIOError:
                if said:
                    break
            else:
                return _answers(said) if said else None
        return _answers(said)

    def _turn(self) -> None:
        self.daemon.supervisor._poller.wait(0.0)
        self.daemon.turn()

    def happen(self, number: int) -> None:
        """Let time pass, or a worker end, or say that it is ready."""
        live = self.daemon.keeper.live()
        run = live[number % len(live)] if live else None
        table, now_s = self.daemon.keeper.table, self.daemon.clock.s
        match number % 4:
            case 0:
                self.daemon.pass_s((0.5, 5.0, 70.0, _DAY_S)[number // 4 % 4])
            case 1 if run is not None:
                self.daemon.keeper.end(run, number // 8 % 2)
            case 2 if run is not None:
                table.fact("said", now_s, run.key)
            case _:
                while self._clients and number % 3:
                    self._clients.pop().close()
        self.daemon.settle()

    def state(self) -> tuple[object, ...]:
        """Return all that a refused call must leave as it is."""
        keeper = self.daemon.keeper
        saves = {key: text for key, text in keeper.table.saves.items() if key != "events"}
        done = (
            len(keeper.started),
            len(keeper.signalled),
            len(keeper.trials),
            self.daemon.readings,
        )
        return dict(self.daemon.workers), saves, done, self.daemon.supervisor._daemon.word

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.daemon.close()


def _answers(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\0") or not data
    return [json.loads(each) for each in data.split(b"\0")[:-1]]


def _calls(data: bytes) -> None:
    """Each call is answered or hung up on, no fault is ours, and a refused one changes nothing."""
    first, *packets = unpacked(data) or [b"\0"]
    house = House(_PEERS[first[0] % len(_PEERS)] if first else _PEERS[0])
    try:
        house.daemon.settle()
        for packet in packets:
            if packet[:1] == b"!" and len(packet) == 2:
                house.happen(packet[1])
                continue
            before = house.state()
            answers = house.ask(packet)
            assert not house.faults, (packet, house.faults)
            if answers and "error" in answers[-1] and b"\0" not in packet:
                assert answers[-1]["error"] != interface.FAILED
                assert house.state() == before, packet
            else:
                house.daemon.settle()  # what comes of it is not the next one's doing
            if (
                house.daemon.supervisor._daemon.is_stopping
                or house.daemon.supervisor._upgrades.is_leaving
            ):
                return
        answers = house.ask(json.dumps({"method": f"{interface.MANAGER}.Version"}).encode())
        assert answers, "nobody answers any more"
    finally:
        house.close()


TARGETS = {"calls": Target(_life, _calls, few=1000, each=_PACKETS)}
