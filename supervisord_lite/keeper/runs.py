"""Runs, from the request to the last fact: only here workers are started and signalled."""

from __future__ import annotations

import errno
import math
import select
import signal
import time

from supervisord_lite.keeper import cgroups, own_folder, secret_stage
from supervisord_lite.keeper.ends import Ends
from supervisord_lite.keeper.feeds import Feeds
from supervisord_lite.keeper.forkservers import Forkservers
from supervisord_lite.keeper.held import Held
from supervisord_lite.keeper.listeners import Listeners
from supervisord_lite.keeper.privates import Privates
from supervisord_lite.keeper.probes import Probes
from supervisord_lite.keeper.spawn import (
    CannotCloneError,
    Launcher,
    StageError,
    cause,
    limit_from_outside,
    read_report,
)
from supervisord_lite.keeper.start import Start
from supervisord_lite.keeper.starts import Starts
from supervisord_lite.keeper.streams import Streams
from supervisord_lite.keeper.table import Run, key_in
from supervisord_lite.keeper.traces import Traces
from supervisord_lite.keeper.trees import Trees
from supervisord_lite.keeper.voices import Voice, Voices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence
    from typing import Any

    from supervisord_lite.keeper.boot import Boot
    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.reap import Ended
    from supervisord_lite.keeper.table import Key, Table


class _Setup:
    """A run whose set-up stages are still going: what its pipe has told so far."""

    __slots__ = ("data", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.data = b""


class Runs:
    """Every live run and what is being done about it."""

    def __init__(
        self,
        calls: Calls,
        boot: Boot,
        table: Table,
        known: set[int],
        watch: Callable[[int, int, Callable[[int], None]], None],
        unwatch: Callable[[int], None],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Begin with none; find out whether cgroups may be made.

        Args:
            calls: The seam.
            boot: What `run` prepared.
            table: Of runs and facts.
            known: Processes of ours that are no orphans.
            watch: Lets the loop call back when a descriptor is ready.
            unwatch: Ends that.
            tell: Takes what a supervisor need not know for certain.
        """
        self._calls = calls
        self._table = table
        self._known = known
        self._watch = watch
        self._unwatch = unwatch
        state = boot.state
        if state is None:
            self.cgroups = cgroups.discover(calls, boot.name)
        else:
            self.cgroups = cgroups.unpacked(calls, state["runs"].get("cgroups"))
        self.traces = Traces(calls, boot.traces, (state or {}).get("traces"))
        self.held = Held(calls, boot.held if state is None else state.get("held", ()))
        self.streams = Streams(calls)
        if state is None:
            self.streams.adopt(boot.journal_reader, {"name": "", "fd": 2})
        nulls = () if state is None else state["runs"].get("nulls", ())
        self._launcher = Launcher(calls, boot.environment, boot.nofile_soft, nulls)
        self._listeners = Listeners(calls, boot.inherited)
        self.voices = Voices(calls, table, watch, unwatch, tell)
        self.feeds = Feeds(calls, watch, unwatch, tell)
        self._privates = Privates(calls)
        self._trees = Trees(calls, self.cgroups, known)
        self.probes = Probes(
            calls, self.cgroups, self._trees, known, self._launch_probe, self.has_begun, watch,
            unwatch, tell, self.traces,
        )  # fmt: skip
        self._starts = Starts(
            calls, self.streams, self.voices, self.feeds, self._listeners, self._privates,
            self.cgroups, self._launcher.null, self._hand_on, self.traces,
        )  # fmt: skip
        self.servers = Forkservers(
            calls, self._starts, self, self._trees, known, watch, unwatch, tell, self.traces
        )
        self._setups: dict[int, _Setup] = {}
        self._ends = Ends(table)
        self.killing = False

    @property
    def next_round_s(self) -> float | None:
        """When `turn` wants to be called again."""
        due = (self._trees.next_round_s, self.probes.deadline_s, self.servers.deadline_s)
        return min((at_s for at_s in due if at_s is not None), default=None)

    @property
    def are_gone(self) -> bool:
        """Whether nothing of any run is alive, nor what would start one."""
        others = (self.probes, self.servers)
        runs = self._table.runs.values()
        return all(each.are_gone for each in others) and all(run.emptied for run in runs)

    # -- requests ---------------------------------------------------------------------------------

    def prepare(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Note what must be known before any of *requests* is carried out.

        Return those that are to be: a run that is asked for twice is started once.
        """
        kept = [request for request in requests if not self._is_known(request)]
        stopping = [self._find(r) for r in requests if r["do"] == "signal" and r.get("stop")]
        self._trees.record([run for run in stopping if run is not None])
        return kept

    def _is_known(self, request: dict[str, Any]) -> bool:
        try:
            if request["do"] != "spawn":
                return False
            key = key_in(request)
            is_known = self._table.is_known(key)
        except (KeyError, TypeError):
            return False  # its own fault, and told when it is carried out
        if not is_known:
            self._table.note_asked(key)
        return is_known

    def carry_out(
        self, requests: deque[dict[str, Any]], now_s: float, until_s: float = math.inf
    ) -> None:
        """Do what the supervisor asks, in order and prepared, and take it out of *requests*.

        What there is no time for before *until_s* stays there; something is done in any case.

        Raises:
            Exception: The last fault of ours; all the same was done.
        """
        spawns = sum(request["do"] == "spawn" for request in requests)
        failure: Exception | None = None
        try:
            while requests:
                request = requests.popleft()
                try:
                    self._carry_out_one(request, now_s, is_alone=spawns == 1)
                except Exception as error:  # noqa: BLE001  # the others were saved as asked for
                    failure = error
                if time.monotonic() >= until_s:
                    break
        finally:
            self.leave()
        if failure is not None:
            raise failure

    def _carry_out_one(self, request: dict[str, Any], now_s: float, *, is_alone: bool) -> None:
        if request["do"] == "spawn":
            self._spawn(request, now_s, is_alone=is_alone)
            return
        if request["do"] == "keep_sockets":
            self._listeners.keep(request["keys"])
            return
        if request["do"] == "keep_feeds":
            self.feeds.keep(request["listeners"])
            return
        if request["do"] == "feed":
            self.feeds.take(request["lines"])
            return
        self.leave()
        if request["do"] == "build":
            self.servers.build(request["server"], now_s)
            return
        if request["do"] == "keep_servers":
            self.servers.keep(request["ids"])
            return
        run = self._find(request)
        if run is None:
            if request["do"] in ("kill", "cancel"):
                self.servers.cancel(key_in(request), at_once=request["do"] == "kill")
            return
        if request["do"] == "kill":
            self._trees.clear(run, now_s)
        elif request["do"] == "signal":
            self._signal(run, request)
        elif request["do"] == "relog":
            self._relog(run, request)
        elif request["do"] == "beat":
            self.voices.answer(run)
        elif request["do"] == "probe":
            self.probes.begin(run, request, now_s)
        elif request["do"] == "end_probe":
            self.probes.end(run, now_s)

    def leave(self) -> bool:
        """Step out of the cgroup of a run; return whether the keeper is in its own."""
        return self.cgroups is None or self.cgroups.leave()

    def _find(self, request: dict[str, Any]) -> Run | None:
        """Return the run that is meant; None when nothing of it is left, so nothing to do."""
        run = self._table.runs.get(key_in(request))
        return None if run is None or run.emptied else run

    def _signal(self, run: Run, request: dict[str, Any]) -> None:
        number = request["signal"]
        numbers = [number]
        if request.get("stop") and number != signal.SIGKILL:
            numbers.append(signal.SIGCONT)  # a stopped process would never see it
        for each in numbers:
            if request["scope"] == "tree":
                self._trees.signal(run, each)
            else:
                self._trees.signal_leader(run, each)

    def _relog(self, run: Run, request: dict[str, Any]) -> None:
        """Let the output of a run go elsewhere; it has a pipe for each file that is named."""
        targets = [each for each in (request["stdout"], request["stderr"]) if each["to"] == "log"]
        for stream, target in zip(run.streams, targets, strict=False):
            self.streams.move(stream, {"name": request["name"], **target["stream"]})

    def signal_all(self, number: int) -> None:
        """Send a signal to every leader; whoever has not begun does not begin."""
        self.servers.end_all()
        for run in self._table.by_pid.values():
            self._trees.signal_leader(run, number)

    def kill_all(self, now_s: float) -> None:
        """SIGKILL to every tree."""
        self.killing = True
        self.probes.end_all(now_s)
        self.servers.end_all()
        for run in self._table.runs.values():
            if not run.emptied:
                self._trees.clear(run, now_s)

    # -- spawning ---------------------------------------------------------------------------------

    def _spawn(self, request: dict[str, Any], now_s: float, *, is_alone: bool) -> None:
        key = key_in(request)
        # What could not be entered in the table must not be started: nobody would know of it.
        assert tuple(map(type, key)) == (str, int, int), key
        limits, marker = request.get("cgroup"), request.get("marker")
        if limits is None or not isinstance(marker, str):
            # Before anything is made that nobody could let go of.
            self.has_failed(
                key, StageError("fork", "no marker, or no limits, came with the request")
            )
            return
        if why := self.held.why_not(key[:2]):
            self.has_failed(key, StageError("left_behind", why, missing=True))
            return
        if "server" in request:
            self.leave()
            self.servers.take(request, now_s)
            return
        start = Start(key, request)
        try:
            self._starts.fill(start, "{}.{}.{}".format(*key))
            pid, report = self.launch(start, is_alone=is_alone)
        except Exception as error:  # noqa: BLE001  # whatever it is, the supervisor waits to hear
            self._starts.discard(start)
            known = error if isinstance(error, StageError) else StageError("fork", repr(error))
            self.has_failed(key, known)
            return
        finally:
            self._starts.close_writers(start)
        run = self._enter(start, pid)
        if not self._limit(run, limits):
            if report >= 0:
                self._calls.close(report)
        elif report < 0:
            self._spawned(run)
        else:
            self._await_setup(run, report)

    def _await_setup(self, run: Run, report: int) -> None:
        run.report = report
        self._setups[report] = _Setup(run)
        self._watch(report, select.EPOLLIN, lambda _mask: self._read_setup(report))

    def _hand_on(self, request: dict[str, Any]) -> int:
        """Let a child read the secrets of a fork; return where that finds them."""
        self.leave()  # it belongs to no run
        try:
            descriptor, pid = secret_stage.hand_on(self._calls, request, self._launcher.credentials)
        except OSError as error:
            raise StageError("secret", cause(error)) from None
        self._known.add(pid)
        return descriptor

    def has_failed(self, key: Key, error: StageError) -> None:
        """Tell that a run could not be started."""
        self._ends.never_began(key, error)

    def _enter(self, start: Start, pid: int) -> Run:
        run = Run(start.key, pid, start.request["marker"], start.cgroup)
        run.streams = start.streams
        run.secret_files = secret_stage.file_names(start.request)
        run.folder = start.request.get("folder") or ""
        self._table.add(run)
        self._known.add(pid)
        self.traces.born(run.marker, pid)
        if start.voice is not None:
            self.voices.begin(run, start.voice)
        self._privates.begin(run, start.request)
        self.feeds.begin(run.key)
        return run

    def is_born(self, start: Start, pid: int, left: dict[str, Any]) -> bool:
        """Enter a process that a forkserver has made, and return whether it may run.

        What its own user may not do to it is done here: its cgroup, and the limits in *left*.
        """
        run = self._enter(start, pid)
        request = start.request
        try:
            if self.cgroups is not None and run.cgroup is not None:
                try:
                    self.cgroups.admit(run.cgroup, pid)
                except OSError as error:
                    if error.errno != errno.ESRCH:  # it has ended: that is told as its exit
                        reason = f"{cause(error)}: {run.cgroup}"
                        raise StageError("cgroup", reason) from None
            limit_from_outside(self._calls, pid, left)
        except StageError as error:
            self._ends.will_fail(run, error)
            self._trees.clear(run, time.monotonic())
            return False
        return self._limit(run, request["cgroup"])

    def has_begun(self, pid: int) -> None:
        """The program runs of a process that is no run's own."""
        self._launcher.has_begun(pid)

    def has_gone(self, key: Key, problem: StageError | None) -> None:
        """Tell that a process that `is_born` has entered runs; or why it will not, and end it.

        It would leave its closed gate by itself, but as one that has done its work.
        """
        run = self._table.runs[key]
        if problem is None:
            self._spawned(run)
            return
        self._ends.will_fail(run, problem)
        self._trees.clear(run, time.monotonic())

    def _spawned(self, run: Run) -> None:
        self._launcher.has_begun(run.pid)
        run.spawned_at_s = time.monotonic()
        self._table.fact("spawned", run.spawned_at_s, run.key, pid=run.pid)

    def launch(self, start: Start, *, is_alone: bool = True) -> tuple[int, int]:
        """Start the process of a run, or of a server; see `Launcher.launch`."""
        return self._launch(start.request, start.files, start.cgroup, is_alone=is_alone)

    def _launch(
        self,
        request: dict[str, Any],
        files: dict[int, int],
        cgroup: str | None,
        *,
        is_alone: bool,
    ) -> tuple[int, int]:
        """Start the process in its cgroup, the way that is quickest.

        Moves between cgroups are cheap right after one another and slow one at a time (see
        `base.clone`), so a single process is born in its cgroup and for many the keeper steps.
        """
        if self.cgroups is None or cgroup is None:
            return self._launcher.launch(request, files)
        try:
            if is_alone and self.cgroups.can_clone:
                folder = self.cgroups.open(cgroup)
                try:
                    self.leave()
                    return self._launcher.launch(request, files, folder)
                except CannotCloneError:
                    self.cgroups.can_clone = False
                finally:
                    self._calls.close(folder)
            self.cgroups.enter(cgroup)
        except OSError as error:
            reason = f"{cause(error)}: {cgroup}"
            raise StageError(stage="cgroup", reason=reason) from None
        return self._launcher.launch(request, files)

    def _launch_probe(
        self, request: dict[str, Any], files: dict[int, int], cgroup: str | None
    ) -> tuple[int, int]:
        return self._launch(request, files, cgroup, is_alone=True)

    def _limit(self, run: Run, limits: dict[str, str]) -> bool:
        """Set the limits of a run that was just started; end it when the kernel refuses one."""
        if self.cgroups is None or run.cgroup is None or not limits:
            return True
        self.leave()
        try:
            self.cgroups.limit(run.cgroup, limits)
        except OSError as error:
            reason = f"{cause(error)}: {run.cgroup}"
            self._ends.will_fail(run, StageError(stage="cgroup", reason=reason))
            self._trees.clear(run, time.monotonic())
            return False
        return True

    def _read_setup(self, report: int) -> None:
        """Read the set-up pipe: its end without a word means that exec has worked."""
        setup = self._setups[report]
        try:
            while data := self._calls.read(report, 4096):
                setup.data += data
        except BlockingIOError:
            return
        except OSError:
            pass  # as good as its end
        del self._setups[report]
        self._unwatch(report)
        self._calls.close(report)
        setup.run.report = -1
        if not setup.data:
            self._spawned(setup.run)
            return
        # The process is about to end; its failure is told when it is reaped.
        self._ends.will_fail(setup.run, read_report(setup.data))

    # -- ends -------------------------------------------------------------------------------------

    def reaped(self, dead: Ended, now_s: float) -> None:
        """Take the end of a leader, or of an orphan that became ours."""
        run = self._table.by_pid.get(dead.pid)
        if run is None:
            if not self.servers.reaped(dead):
                self.probes.reaped(dead, now_s)
            return
        self.probes.end(run, now_s)
        if run.report >= 0:
            self._read_setup(run.report)
        self.voices.listen(run, to_the_end=True)
        if dead.signal == signal.SIGKILL and run.cgroup is not None and self.cgroups is not None:
            run.oom = self.cgroups.killed_for_memory(run.cgroup)
        self._table.note_reaped(run)
        self._trees.clear(run, now_s)
        self._ends.reaped(run, dead, now_s)

    def turn(self, now_s: float) -> None:
        """Do what is due: clear trees, tell exits, and trees that are empty now."""
        self.probes.expire(now_s)
        self.servers.turn(now_s)
        at_s = self._trees.next_round_s
        if at_s is None or (now_s < at_s and not self._ends.are_waiting):
            return
        empty = self.probes.settle(set(self._trees.turn(now_s)))
        empty = {run for run in empty if not self.servers.emptied(run)}
        for run in self._ends.tell(empty, now_s):
            self._forget(run)

    def _forget(self, run: Run) -> None:
        self.traces.gone(run.marker)
        self.voices.end(run)
        self.feeds.end(run.key)
        self._privates.end(run)
        if run.secret_files:
            own_folder.remove(self._calls, run.folder, run.secret_files)
        self._table.note_emptied(run, self._table.last)
        for stream in run.streams:
            self.streams.retire(stream)

    # -- succession -------------------------------------------------------------------------------

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return every run and all that belongs to runs, as JSON.

        *keep* is called with each descriptor that goes with it.
        """
        return {
            "cgroups": None if self.cgroups is None else self.cgroups.pack(keep),
            "nulls": self._launcher.pack(keep),
            "streams": self.streams.pack(keep),
            "all": [self._pack_run(run, keep) for run in self._table.runs.values()],
            "feeds": self.feeds.pack(keep),
            "sockets": self._listeners.pack(keep),
            "probes": self.probes.pack(keep),
            "servers": self.servers.pack(keep),
            "known": list(self._known),
        }

    def _pack_run(self, run: Run, keep: Callable[[int], int]) -> dict[str, Any]:
        setup = self._setups.get(run.report)
        return {
            **run.pack(),
            **self._ends.pack(run),
            "streams": self.streams.names(run.streams),
            "voice": self.voices.pack(run, keep),
            "places": self._privates.places(run),
            "kills": self._trees.kills(run),
            "report": keep(run.report),
            "told": "" if setup is None else setup.data.decode("latin-1"),
        }

    def unpack(self, said: dict[str, Any]) -> list[Run]:
        """Go on with what was packed; return the runs, for the table."""
        self._known.update(said.get("known", ()))
        self.streams.unpack(said.get("streams", {}))
        runs = [self._unpack_run(each) for each in said.get("all", ())]
        self.feeds.unpack(said.get("feeds", []))
        self._listeners.unpack(said.get("sockets", []))
        self.probes.unpack(said.get("probes", {}), {run.key: run for run in runs})
        self.servers.unpack(said.get("servers", {}))
        return runs

    def _unpack_run(self, said: dict[str, Any]) -> Run:
        run = Run.unpacked(said)
        run.streams = self.streams.named(said.get("streams", []))
        if said.get("voice") is not None:
            self.voices.begin(run, Voice.unpacked(said["voice"]))
        self._privates.resume(run, said.get("places", []))
        self._trees.resume(run, said.get("kills"))
        if said.get("report", -1) >= 0:
            self._await_setup(run, said["report"])
            self._setups[run.report].data = said.get("told", "").encode("latin-1")
        self._ends.resume(run, said)
        return run

    def close(self) -> None:
        """The daemon ends: whatever is still below us is killed, our cgroups are removed."""
        self._trees.everything(set())
        self._listeners.close()
        if self.cgroups is not None:
            self.cgroups.close()
