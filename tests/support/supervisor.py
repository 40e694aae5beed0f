"""A supervisor without processes: the real one, driven by hand, and a keeper made of its table.

What it would start or ask of the world is played by by_hand.py.
"""

import errno
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from supervisord_lite.base.memory_files import memory_content
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.config.loading import Loaded, Refused
from supervisord_lite.config.spec import Configuration, Launch, Origin, Settings, Spec, to_json
from supervisord_lite.core.policy import BackoffPolicy, Critical, Policy
from supervisord_lite.core.states import Worker
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.keeper.table import Key, Run, Table
from supervisord_lite.supervisor.adoption import Handover
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.loop import Supervisor
from supervisord_lite.supervisor.outbox import Outbox, Send, Slot
from supervisord_lite.supervisor.reload import Done, Refusal
from supervisord_lite.wire import channel
from tests.support.by_hand import HandClock, HandTimer, HeldNote, HeldSampling, ReadyMade
from tests.support.core import FixedRng

SETTINGS = Settings("/etc/x.toml", "/state", "/run/x", None, "/run/x/control.sock")


def a_spec(
    pool: str,
    size: int = 1,
    *,
    launch: dict[str, Any] | None = None,
    requires: Sequence[str] = (),
    after: Sequence[str] = (),
    critical: Critical = "no",
    **policy: Any,
) -> Spec:
    """Return a spec of *size* workers without jitter; *policy* and *launch* as given."""
    return Spec(
        pool=pool,
        pool_size=size,
        policy=Policy(**{"backoff": BackoffPolicy(jitter=False), **policy}),
        launch=Launch(**{"argv": ("true",), "directory": "/", **(launch or {})}),
        origin=Origin("x.toml", 1),
        requires=tuple(requires),
        after=tuple(after),
        critical=critical,
    )


def message_of(data: bytes, descriptors: Sequence[int]) -> dict[str, Any]:
    """Return the message of one packet, as the keeper takes it; descriptors are closed."""
    (message,) = messages_of(data, descriptors)
    return message


def messages_of(data: bytes, descriptors: Sequence[int]) -> list[dict[str, Any]]:
    """Return the messages of one packet, as the keeper takes them; descriptors are closed."""
    try:
        if data == channel.IN_LINES:
            lines = memory_content(descriptors[0]).split(b"\n")
            return [channel.decode_whole(line) for line in lines]
        if data == channel.IN_MEMORY:
            return [channel.decode_whole(memory_content(descriptors[0]))]
        return [channel.decode(data)]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def collecting(sent: list[dict[str, Any]]) -> Send:
    """Return what sends packets to nobody but *sent*."""

    def send(data: bytes, descriptors: tuple[int, ...] = (), *, owned: bool = False) -> None:
        assert owned == bool(descriptors)
        sent.append(message_of(data, descriptors))

    return send


def a_fleet(*specs: Spec) -> tuple[Fleet, Outbox, list[dict[str, Any]]]:
    """Return a fleet, its outbox and the messages that it sends."""
    sent: list[dict[str, Any]] = []
    outbox = Outbox(collecting(sent))
    return Fleet(SETTINGS, specs, outbox, HandClock(), FixedRng()), outbox, sent


class LoggingTable(Table):
    """A table of which every fact ever told is kept in `log`."""

    def __init__(self, saves: dict[str, str]) -> None:
        super().__init__(saves)
        self.log: list[dict[str, Any]] = []

    def fact(self, kind: str, at_s: float, key: Key | None = None, **fields: object) -> int:
        number = super().fact(kind, at_s, key, **fields)
        self.log.append(self.facts[-1])
        return number


class TableKeeper:
    """What the keeper does with messages, with processes that are only entries in its table.

    Attributes:
        started: Every run that was started, in order.
        signalled: Requests to signal or kill, in order.
        spawned: The request behind each run.
        relogged: Requests to log elsewhere, in order.
        journal: Every event that it was told, in order.
        asked_beats: Requests for last signs of life, in order.
        asked_probes: Requests to ask a worker by a program, and to stop that, in order.
        built: Ids of forkservers that were to be built, in order.
        cancelled: Runs that need not be started any more, in order.
        servers: Ids of forkservers that are needed.
        trials: Orders to try other code, in order.
        replaced: Orders to put it in force, in order.
        keeps_facts: What says that facts are applied is lost, always: it comes in a last message.
    """

    def __init__(self, *specs: Spec) -> None:
        saves = {
            "settings": to_json(SETTINGS),
            "pools": json.dumps([spec.pool for spec in specs]),
            "log": "text info",
        }
        saves.update((f"spec/{spec.pool}", to_json(spec)) for spec in specs)
        self.table = LoggingTable(saves)
        self.clock = HandClock()
        self.started: list[Key] = []
        self.signalled: list[dict[str, Any]] = []
        self.failing: list[dict[str, object]] = []
        self.spawned: dict[Key, dict[str, Any]] = {}
        self.relogged: list[dict[str, Any]] = []
        self.journal: list[dict[str, Any]] = []
        self.asked_beats: list[dict[str, Any]] = []
        self.asked_probes: list[dict[str, Any]] = []
        self.built: list[str] = []
        self.cancelled: list[Key] = []
        self.servers: list[str] = []
        self.trials: list[dict[str, Any]] = []
        self.replaced: list[dict[str, Any]] = []
        self.keeps_facts = False
        self._next_pid = 1000

    def obey(self, message: dict[str, Any]) -> None:
        if "save" in message or "applied" in message:
            applied = 0 if self.keeps_facts else message.get("applied", 0)
            self.table.save(message.get("save", {}), applied)
        self.journal += map(json.loads, message.get("events", ()))
        self.servers = message.get("servers", self.servers)
        self.trials += [message["trial"]] if "trial" in message else []
        self.replaced += [message["replace"]] if "replace" in message else []
        for request in message.get("do", ()):
            if request["do"] == "build":
                self.built.append(request["server"]["id"])
                continue
            key = (request["pool"], request["index"], request["run"])
            if request["do"] == "spawn":
                self._spawn(key, request)
            elif request["do"] == "relog":
                self.relogged.append(request)
            elif request["do"] == "beat":
                self.asked_beats.append(request)
            elif request["do"] in ("probe", "end_probe"):
                self.asked_probes.append(request)
            elif request["do"] == "cancel":
                self.cancelled.append(key)
            elif key in self.table.runs and not self.table.runs[key].emptied:
                self.signalled.append(request)

    def _spawn(self, key: Key, request: dict[str, Any]) -> None:
        if self.table.is_known(key):
            return
        self.table.note_asked(key)
        self.started.append(key)
        self.spawned[key] = request
        if self.failing:
            self.table.fact("spawn_failed", self.clock.s, key, **self.failing.pop())
            return
        self._next_pid += 1
        run = Run(key, self._next_pid, request["marker"], None)
        run.spawned_at_s = self.clock.s
        self.table.add(run)
        self.table.fact("spawned", self.clock.s, key, pid=run.pid)

    def live(self) -> list[Run]:
        return [run for run in self.table.runs.values() if not run.ended]

    def end(self, run: Run, code: int, *, emptied: bool = True) -> None:
        """Let a leader end, with or without others of its tree."""
        self.table.note_reaped(run)
        self.table.fact("exited", self.clock.s, run.key, code=code, signal=None, emptied=emptied)
        if emptied:
            self.table.note_emptied(run, self.table.last)

    def empty(self, run: Run) -> None:
        """Let what a leader left behind be gone."""
        self.table.fact("emptied", self.clock.s, run.key, killed=["9 x"])
        self.table.note_emptied(run, self.table.last)


class Daemon:
    """A keeper and one supervisor after the other.

    Attributes:
        notes: Every note of an escalation that was begun.
        carried: What was written for the service after this one, each time.
        planned: What was written of plans for the service after this one, each time.
        timers: Of each supervisor, as it needed one.
        questions: What was to be read in the event journal; nobody can.
        disk: "good", "full", "frozen" or "no process": what becomes of that.
    """

    def __init__(self, *specs: Spec, saves: Mapping[str, str] | None = None) -> None:
        self.keeper = TableKeeper(*specs)
        self.keeper.table.save(dict(saves or {}), 0)
        self.adoption = 0
        self.fell_back = ""
        self.told = 0
        self.notified: list[str] = []
        self.lines: list[str] = []
        self.notes: list[HeldNote] = []
        self.carried: list[dict[str, Any] | None] = []
        self.planned: list[dict[str, Any] | None] = []
        self.timers: list[HandTimer] = []
        self.file: Loaded | Refused | None = None
        self.readings = 0
        self.questions: list[dict[str, Any]] = []
        self.samplings: list[HeldSampling] = []
        self._carrying: list[HeldNote] = []
        self.disk = "good"
        self._quiet = os.open(os.devnull, os.O_WRONLY)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("")
        self._listener.listen()
        self._start()

    @property
    def clock(self) -> HandClock:
        return self.keeper.clock

    @property
    def workers(self) -> Mapping[Slot, Worker]:
        return self.supervisor._fleet.workers

    def _start(self) -> None:
        handover = self.keeper.table.handover(
            keeper_pid=1, started_at_s=0.0, adoption=self.adoption, has_cgroups=False,
            controllers=[], dropped={}, troubles={}, fell_back=self.fell_back, takes_lines=True,
        )  # fmt: skip
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = PacketSocket(ours, channel.MAX_MESSAGE_BYTES)
        self._theirs = theirs
        self.told = self.keeper.table.last
        self.supervisor = Supervisor(
            theirs,
            self._listener,
            Handover(**json.loads(handover)),
            clock=self.clock,
            rng=FixedRng(),
            journal=Journal(self._quiet, "text", "info"),
            own_uid=os.getuid(),
            start_note=self._start_note,
            start_bound_note=self._start_bound_note,
            start_loading=self._start_loading,
            start_reading=self._start_reading,
            start_sampling=self._start_sampling,
            make_timer=self._make_timer,
        )
        self.adoption += 1
        self.supervisor._adopt()

    def _start_note(
        self, path: str, content: dict[str, Any], *, now_s: float, limit_s: float = 5.0
    ) -> HeldNote:
        self.notes.append(HeldNote(path, content, now_s=now_s, limit_s=limit_s))
        return self.notes[-1]

    def _start_bound_note(
        self, path: str, content: dict[str, Any] | None, *, now_s: float, limit_s: float
    ) -> HeldNote:
        if self.disk == "no process":
            raise BlockingIOError(11, "no process")
        note = HeldNote(path, content, now_s=now_s, limit_s=limit_s)
        (self.planned if path.endswith("/plans.json") else self.carried).append(content)
        self._carrying.append(note)
        if self.disk != "frozen":
            note.child.sendall(b"written\n" if self.disk == "good" else b"failed no space\n")
            note.child.close()
        return note

    def _make_timer(self) -> HandTimer:
        self.timers.append(HandTimer())
        return self.timers[-1]

    def set_wall_clock(self, by_s: float) -> None:
        """Set the wall clock forward, or back; the kernel tells whoever has a timer."""
        self.clock.wall_offset_s += by_s
        if self.supervisor._schedules._timer is not None:
            self.supervisor._schedules._went_off()
        self.settle()

    def _start_loading(self, path: str, *, environ: dict[str, str], now_s: float) -> ReadyMade:
        del path, environ, now_s
        assert self.file is not None
        self.readings += 1
        return ReadyMade(self.file)

    def _start_sampling(self, keeper_pid: int, *, now_s: float) -> HeldSampling:
        assert keeper_pid == 1
        if self.disk == "no process":
            raise BlockingIOError(11, "no process")
        self.samplings.append(HeldSampling(now_s=now_s))
        return self.samplings[-1]

    def _start_reading(self, path: str, question: dict[str, Any], *, now_s: float) -> NoReturn:
        del path, now_s
        self.questions.append(question)
        raise OSError(errno.EIO, "Input/output error")

    def write(self, *specs: Spec, settings: Settings = SETTINGS) -> None:
        """Change the file."""
        configuration = Configuration(settings, specs)
        self.file = Loaded(configuration, "", ("x.toml",), {"/x.toml": str(self.readings)})

    def read_file(self) -> None:
        """Let the supervisor take what its child has read."""
        reloads = self.supervisor._reloads
        while reloads._loading is not None:
            reloads._receive()

    def reload(self, *specs: Spec, is_dry: bool = False) -> list[Done | Refusal]:
        """Change the file, ask for a reload, and let it be judged: the next turn applies it."""
        answers: list[Done | Refusal] = []
        if specs:
            self.write(*specs)
        self.supervisor._reloads.ask(answers.append, is_dry=is_dry)
        self.read_file()
        return answers

    def is_built(self, server: str) -> None:
        """Tell that a forkserver has imported what it had to."""
        about = {"state": "ready", "pid": 99, "took_s": 0.1, "rss_bytes": 1, "warnings": []}
        self._channel.send(channel.encode({"servers": {server: about}}))
        self.turn()

    def is_tried(self, **answer: object) -> None:
        """Tell what came of the latest trial, which the supervisor takes in its next turn."""
        said = {"ok": True, "version": "9.9", "protocol": 1, "unusable": {}, "reason": ""}
        said |= {"id": self.keeper.trials[-1]["id"], **answer}
        self._channel.send(channel.encode({"trial": said}))

    def hang_up(self) -> None:
        """Send SIGHUP to the main process."""
        self.keeper.table.fact("signalled", self.clock.s, signal="SIGHUP")

    def turn(
        self, *, dies_after: int | None = None, meanwhile: Callable[[], None] | None = None
    ) -> None:
        """Tell all facts, let the supervisor have one turn, and carry out what it says.

        Args:
            dies_after: It is killed when so many of its messages have left.
            meanwhile: What happens before there is another one.
        """
        table = self.keeper.table
        while self.told < table.last:
            page = table.page(self.told, 3)
            self.told = page[-1]["n"]
            self._channel.send(channel.encode({"facts": page}))
        self.supervisor._catch_up(self.clock.s)
        self.supervisor._settle()
        number = 0
        while packets := self._channel.receive():
            for data, descriptors in packets:
                messages = messages_of(data, descriptors)
                if dies_after is not None and number >= dies_after:
                    continue
                number += 1
                for message in messages:
                    self.notified += message.get("notify", "").split("\n")
                    self.keeper.obey(message)
            self.supervisor._channel.flush()
        if dies_after is not None:
            if meanwhile is not None:
                meanwhile()
            self.replace()

    def replace(self) -> None:
        """Another supervisor takes over from one that is dead."""
        self._end_supervisor()
        self._start()

    def settle(self) -> None:
        """Turn until nobody has anything to say."""
        for _ in range(100):
            before = (self.keeper.table.last, self.keeper.table.applied, dict(self.workers))
            self.turn()
            if before == (self.keeper.table.last, self.keeper.table.applied, dict(self.workers)):
                return
        message = "the daemon does not come to rest"
        raise AssertionError(message)

    def pass_s(self, span_s: float) -> None:
        """Let time pass."""
        self.clock.s += span_s
        self.turn()

    def _end_supervisor(self) -> None:
        self.supervisor._server.close()
        self.supervisor._poller._poll.close()
        self.supervisor._channel.close()
        self._channel.close()

    def close(self) -> None:
        self._end_supervisor()
        for note in (*self.notes, *self._carrying):
            note.close()
            note.child.close()
        for child in self.samplings:
            child.child.close()
            child._socket.close()
        for timer in self.timers:
            timer.close()
        self._listener.close()
        os.close(self._quiet)
