"""Forkservers, and the starts that wait for one: see worker/forkserver.py for what one does.

A request to start a run may name a server: then the run is a fork of that one. What is asked of a
server that is not there yet is *parked*, as the bare request, until it is ready; then the run gets
its pipes and its gate, and is *opening* until its process has said hello.

=====================  =============================================================================
a server is            what was asked of it
=====================  =============================================================================
starting               is parked; nothing was made for it yet
ready                  is opening at once
gone while starting    has failed at the stage at which the server has ("preload" for its imports)
killed while starting  is asked of another one
gone while ready       said hello before: goes on; else its gate is closed, and another one is asked
not answering          as gone: it is killed when its time is over
=====================  =============================================================================

What is asked of another one had not begun, so that is no failure of it; `_MOST_AGAIN` times, for a
server may die of what it is asked.

A server that is gone is built again by the next request that names it. The supervisor says which
ones are needed (`keep`); another one ends when nothing that was asked of it is open any more.

What imports print goes into the log of an instance, in its turn: behind the run that has it now,
and before those that come from this server. So a server has its pipe until it is ready, and that is
a wide one, because its turn may come late.

How the process of a fork comes to stand in the table is the business of gates.py.
"""

from __future__ import annotations

import os
import select
import socket
import time

from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.keeper.fork_words import bounded
from supervisord_lite.keeper.gates import Gates
from supervisord_lite.keeper.server import HANG_S, Server
from supervisord_lite.keeper.spawn import StageError, read_report
from supervisord_lite.keeper.start import Start
from supervisord_lite.keeper.table import key_in
from supervisord_lite.wire import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.gates import Office
    from supervisord_lite.keeper.reap import Ended
    from supervisord_lite.keeper.starts import Starts
    from supervisord_lite.keeper.table import Key, Run
    from supervisord_lite.keeper.traces import Traces
    from supervisord_lite.keeper.trees import Trees

#: How often what never began is asked of another server.
_MOST_AGAIN = 2
#: From the end of its channel to its own.
_LAST_S = 2.0
#: Where a server finds its end of the channel.
_CHANNEL = 3


class Forkservers:
    """All of them."""

    def __init__(
        self,
        calls: Calls,
        starts: Starts,
        office: Office,
        trees: Trees,
        known: set[int],
        watch: Callable[[int, int, Callable[[int], None]], None],
        unwatch: Callable[[int], None],
        tell: Callable[[dict[str, Any]], None],
        traces: Traces,
    ) -> None:
        """Begin with none; arguments as of `Runs`."""
        self._calls = calls
        self._starts = starts
        self._office = office
        self._trees = trees
        self._known = known
        self._watch = watch
        self._unwatch = unwatch
        self._tell = tell
        self._traces = traces
        self._gates = Gates(calls, starts, office, known, watch, unwatch, self._end_if_idle)
        self._by_id: dict[str, Server] = {}
        self._by_run: dict[Run, Server] = {}
        self._lives = 0

    @property
    def are_gone(self) -> bool:
        """Return whether nothing of any is alive, and nobody waits."""
        return not self._by_run

    @property
    def deadline_s(self) -> float | None:
        """When to call `turn`; None: not at all."""
        deadlines = (server.deadline_s for server in self._by_run.values())
        return min((at_s for at_s in deadlines if at_s is not None), default=None)

    def forgive(self, now_s: float) -> None:
        """We ourselves were stopped: nobody is late."""
        for server in self._by_run.values():
            if server.deadline_s is not None:
                patience_s = HANG_S if server.is_ready else server.about["timeout_s"]
                server.deadline_s = max(server.deadline_s, now_s + patience_s)

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return every server as JSON; *keep* is called with each descriptor."""
        servers = [
            {
                **server.pack(self._starts, keep),
                "kills": self._trees.kills(server.run),
                "is_current": self._by_id.get(server.about["id"]) is server,
            }
            for server in self._by_run.values()
        ]
        return {"all": servers, "lives": self._lives}

    def unpack(self, said: dict[str, Any]) -> None:
        """Go on with what was packed."""
        self._lives = said.get("lives", 0)
        for each in said.get("all", ()):
            server = Server.unpacked(each, self._starts, self._calls)
            self._by_run[server.run] = server
            if each.get("is_current"):
                self._by_id[server.about["id"]] = server
            self._trees.resume(server.run, each.get("kills"))
            if server.channel is not None and not server.channel.ended:
                self._mind(server)
            if server.report >= 0:
                self._watch(server.report, select.EPOLLIN, self._telling(server))
            self._gates.resume(server)

    def _telling(self, server: Server) -> Callable[[int], None]:
        return lambda _mask: self._read_report(server)

    # -- requests ----------------------------------------------------------------------------------

    def take(self, request: dict[str, Any], now_s: float) -> None:
        """Start a run by the server that its request names."""
        try:
            server = self._server(request["server"], now_s)
        except StageError as error:
            self._office.has_failed(key_in(request), error)
            return
        server.parked.append(request)
        if server.is_ready:
            self._open_all(server, now_s)

    def build(self, about: dict[str, Any], now_s: float) -> None:
        """Have a server ready, and say what came of it."""
        try:
            server = self._server(about, now_s)
        except StageError:
            return  # that was said
        if server.is_ready:
            self._say(server, _shown(server))

    def keep(self, ids: Iterable[str]) -> None:
        """End all others, as soon as nobody waits for them."""
        wanted = set(ids)
        for server in list(self._by_id.values()):
            server.is_wanted = server.about["id"] in wanted
            self._end_if_idle(server)

    def cancel(self, key: Key, *, at_once: bool) -> None:
        """Start a run no more, if that has not begun; with *at_once* also when it has."""
        error = StageError("forkserver", "stopped before it began")
        for server in list(self._by_run.values()):
            for request in server.parked:
                if key_in(request) == key:
                    server.parked.remove(request)
                    self._office.has_failed(key, error)
                    self._end_if_idle(server)
                    return
            for gate, (start, _) in list(server.openings.items()):
                if at_once and start.key == key:
                    self._gates.drop(server, gate, error)
                    self._end_if_idle(server)
                    return

    def end_all(self) -> None:
        """The daemon ends: nobody is started any more."""
        for server in list(self._by_run.values()):
            self._give_up(server, StageError("forkserver", "the daemon ends"))

    # -- a server's life ---------------------------------------------------------------------------

    def _server(self, about: dict[str, Any], now_s: float) -> Server:
        """Return a server, which may have been started just now.

        Raises:
            StageError: It could not be.
        """
        server = self._by_id.get(about["id"])
        if server is not None:
            return server
        self._lives += 1
        marker = os.urandom(16).hex()
        request = {
            **about,
            "marker": marker,
            "environment": [*about["environment"], ["INVOCATION_ID", marker]],
            "nice": 0,
            "rlimits": [],
        }
        server = Server(about, Start(("", 0, self._lives), request), now_s)
        self._by_id[about["id"]] = server
        self._by_run[server.run] = server
        try:
            self._launch(server)
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits to hear
            known = error if isinstance(error, StageError) else StageError("fork", repr(error))
            self._give_up(server, known)
            raise known from None
        return server

    def _launch(self, server: Server) -> None:
        start = server.start
        ours, theirs = self._calls.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._starts.fill(start, f"forkserver-{self._lives}")
            self._starts.widen(start)
            start.files[_CHANNEL] = theirs.fileno()
            pid, server.report = self._office.launch(start)
        except BaseException:
            ours.close()
            self._starts.discard(start)
            raise
        finally:
            theirs.close()
            self._starts.close_writers(start)
        self._traces.born(start.request["marker"], pid)
        server.run.pid = pid
        server.run.cgroup = start.cgroup
        self._known.add(pid)
        server.channel = PacketSocket(ours, channel.MAX_MESSAGE_BYTES, self._calls)
        self._mind(server)
        if server.report >= 0:
            self._watch(server.report, select.EPOLLIN, self._telling(server))

    def _mind(self, server: Server) -> None:
        own = server.channel
        if own is None:
            return
        if own.ended:
            self._close_channel(server)
            if server.problem is None:
                server.deadline_s = time.monotonic() + _LAST_S  # how it ended is known by then
            return
        mask = select.EPOLLIN | (select.EPOLLOUT if own.is_blocked else 0)
        self._watch(own.fileno(), mask, lambda _mask: self._hear(server))

    def _close_channel(self, server: Server) -> None:
        if server.channel is not None:
            self._unwatch(server.channel.fileno())
            server.channel.close()
            server.channel = None

    def _read_report(self, server: Server, *, is_dead: bool = False) -> None:
        """Read the set-up pipe: its end without a word means that exec has worked."""
        try:
            while data := self._calls.read(server.report, 4096):
                server.told += data
        except BlockingIOError:
            return
        except OSError:
            pass  # as good as its end
        self._unwatch(server.report)
        self._calls.close(server.report)
        server.report = -1
        if not server.told and not is_dead:
            self._office.has_begun(server.run.pid)

    def _hear(self, server: Server) -> None:
        own = server.channel
        if own is None:
            return
        own.flush()
        packets = own.receive()
        for _, descriptors in packets:
            for descriptor in descriptors:  # nobody has asked for any
                self._calls.close(descriptor)
        for data, _ in packets:
            try:
                self._take(server, channel.decode(data))
            except Exception as error:  # noqa: BLE001  # what runs there is not ours
                self._give_up(server, StageError("forkserver", f"said what is no answer: {error}"))
                return
        self._mind(server)

    def _take(self, server: Server, message: dict[str, Any]) -> None:
        if "ready" in message and not server.is_ready and server.problem is None:
            now_s = time.monotonic()
            said = message["ready"]
            server.said = {
                "took_s": now_s - server.began_s,
                "rss_bytes": int(said["rss_bytes"]),
                "warnings": [str(each)[:500] for each in said["warnings"][:10]],
            }
            server.takes_cgroup = said.get("takes_cgroup") is True
            server.is_ready = True
            server.deadline_s = None
            self._starts.retire(server.start)
            self._say(server, _shown(server))
            self._open_all(server, now_s)
            self._end_if_idle(server)
        elif "failed" in message and not server.is_ready and server.problem is None:
            said = message["failed"]
            server.said = {"lines": bounded([str(each)[:500] for each in said["lines"][:100]])}
            self._give_up(server, StageError("preload", str(said["reason"])[:1000]))

    def _end_if_idle(self, server: Server) -> None:
        is_idle = not server.parked and not server.openings
        if not server.is_wanted and is_idle and server.problem is None:
            self._give_up(server, StageError("forkserver", "not needed any more"), is_news=False)

    def _give_up(
        self, server: Server, error: StageError, *, is_news: bool = True, is_fault: bool = True
    ) -> None:
        """Let nobody wait for it any more, and kill it: it has nothing to finish.

        Args:
            server: Which.
            error: Why.
            is_news: The supervisor is told.
            is_fault: That is a failure of all that waits; else another server is asked.
        """
        if server.problem is not None:
            return
        server.problem = error
        if self._by_id.get(server.about["id"]) is server:
            del self._by_id[server.about["id"]]
        self._gates.listen(server)
        waiting = [self._gates.close(server, gate).request for gate in list(server.openings)]
        server.deadline_s = None  # the last of its hellos has moved it
        if is_news:
            about = {"stage": error.stage, "reason": error.reason, **server.said}
            self._say(server, {"state": "ended" if server.is_ready else "failed", **about})
        if server.run.pid:
            self._trees.clear(server.run, time.monotonic())
        else:
            self._by_run.pop(server.run, None)
        waiting += server.parked
        server.parked = []
        for request in waiting:
            tries = request.get("again", 0)
            if is_fault or tries >= _MOST_AGAIN:
                self._office.has_failed(key_in(request), error)
            else:
                self.take({**request, "again": tries + 1}, time.monotonic())
        other = self._by_id.get(server.about["id"])
        if other is not None:
            other.is_wanted = server.is_wanted

    def _say(self, server: Server, about: dict[str, object]) -> None:
        self._tell({"servers": {server.about["id"]: about}})

    def turn(self, now_s: float) -> None:
        """Give up who has not answered in time."""
        for server in list(self._by_run.values()):
            if server.deadline_s is None or now_s < server.deadline_s:
                continue
            self._hear(server)  # its answer may be there already
            if server.deadline_s is None or now_s < server.deadline_s:
                continue
            if server.channel is None:
                self._give_up(server, StageError("forkserver", "it has closed its channel"))
            elif server.is_ready:
                error = StageError("forkserver", f"no answer for {HANG_S:g}s")
                self._give_up(server, error, is_fault=False)
            else:
                reason = f"not ready after {server.about['timeout_s']:g}s"
                self._give_up(server, StageError("preload", reason))

    def reaped(self, dead: Ended) -> bool:
        """Take the end of a server; return whether it was one."""
        server = next((s for s in self._by_run.values() if s.run.pid == dead.pid), None)
        if server is None or server.run.ended:
            return False
        if server.report >= 0:
            self._read_report(server, is_dead=True)
        self._hear(server)
        server.run.ended = True
        how = ", ".join(f"{name} {value}" for name, value in dead.how().items())
        if server.told and not server.is_ready:
            error = read_report(server.told)
        elif server.is_ready:
            error = StageError("forkserver", f"the forkserver has ended ({how})")
        else:
            error = StageError("preload", f"the forkserver has ended while it imported ({how})")
        was_killed = not server.told and (server.is_ready or "signal" in dead.how())
        self._give_up(server, error, is_fault=not was_killed)
        self._trees.clear(server.run, time.monotonic())
        self._close_channel(server)
        return True

    def emptied(self, run: Run) -> bool:
        """Nothing of a tree is alive; return whether it was that of a server."""
        server = self._by_run.pop(run, None)
        if server is None:
            return False
        self._traces.gone(server.start.request["marker"])
        self._starts.retire(server.start)
        return True

    # -- forks -------------------------------------------------------------------------------------

    def _open_all(self, server: Server, now_s: float) -> None:
        parked, server.parked = server.parked, []
        for request in parked:
            start = Start(key_in(request), request)
            try:
                self._gates.open(server, start)
            except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits to hear
                self._starts.discard(start)
                known = error if isinstance(error, StageError) else StageError("fork", repr(error))
                self._office.has_failed(start.key, known)
            finally:
                self._starts.close_writers(start)
        if server.openings and server.deadline_s is None:
            server.deadline_s = now_s + HANG_S
        self._mind(server)

    def listen(self) -> None:
        """Read every hello that was said until now: an unknown child is about to be reaped."""
        for server in list(self._by_run.values()):
            self._gates.listen(server)


def _shown(server: Server) -> dict[str, object]:
    state = "ready" if server.is_ready else "starting"
    return {"state": state, "pid": server.run.pid, **server.said}
