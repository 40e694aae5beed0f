"""Programs that say whether a run works (`health.exec`): started, watched, and cleared away.

A probe is a process tree of its own beside that of the run which it is about: with the same user,
directory, environment and limits, in a cgroup or under a marker of its own. It is no fact: what it
comes to is told once, unnumbered, and whoever had asked and is gone will not ask for it.

A probe ends when its leader has ended, when its time is up, when its run ends or is about to, when
the supervisor says so or dies, and with the daemon; what it has started is killed with it. A run is
empty only when its probes are. When the keeper itself was stopped, no probe is late.
"""

from __future__ import annotations

import os
import select

from supervisord_lite.keeper.spawn import StageError, cause, read_report
from supervisord_lite.keeper.table import Run, key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.cgroups import Cgroups
    from supervisord_lite.keeper.reap import Ended
    from supervisord_lite.keeper.table import Key
    from supervisord_lite.keeper.traces import Traces
    from supervisord_lite.keeper.trees import Trees

#: Of its output, the end is kept.
_KEPT_BYTES = 4096
_READ_BYTES = 65536
#: Nobody reads more: who writes on gets SIGPIPE.
_MOST_BYTES = 1 << 20
_MAX_LINE_CHARS = 200


class Probe:
    """One process that was asked about `run`.

    Attributes:
        run: Whom it is about.
        tree: Its own processes, as the trees know them.
        deadline_s: When it is late; None: it was told already.
        report: Read end of the set-up pipe, or -1.
        told: What it has said.
        reader: Read end of its output, or -1.
        output: The end of that; `read_bytes`: how much there was in all.
    """

    __slots__ = (
        "deadline_s", "number", "output", "read_bytes", "reader", "report", "run", "timeout_s",
        "told", "tree",
    )  # fmt: skip

    def __init__(self, run: Run, tree: Run, request: Mapping[str, Any], now_s: float) -> None:
        """Take over a process that was just started."""
        self.run = run
        self.tree = tree
        self.number: int = request["number"]
        self.timeout_s: float = request["timeout_s"]
        self.deadline_s: float | None = now_s + self.timeout_s
        self.report = -1
        self.told = b""
        self.reader = -1
        self.output = b""
        self.read_bytes = 0

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return it as JSON; *keep* is called with each descriptor."""
        told = {"told": self.told.decode("latin-1")} if self.told else {}
        return {
            **told,
            "run": self.run.key,
            "tree": self.tree.pack(),
            "number": self.number,
            "timeout_s": self.timeout_s,
            "deadline_s": self.deadline_s,
            "report": keep(self.report),
            "reader": keep(self.reader),
            "output": self.output.decode("latin-1"),
            "read_bytes": self.read_bytes,
        }

    @classmethod
    def unpacked(cls, said: dict[str, Any], run: Run) -> Probe:
        """Return what was packed."""
        probe = cls(run, Run.unpacked(said["tree"]), said, 0.0)
        probe.deadline_s = said.get("deadline_s")
        probe.report = said.get("report", -1)
        probe.told = said.get("told", "").encode("latin-1")
        probe.reader = said.get("reader", -1)
        probe.output = said.get("output", "").encode("latin-1")
        probe.read_bytes = said.get("read_bytes", 0)
        return probe


class Probes:
    """Every probe of which something may be alive."""

    def __init__(
        self,
        calls: Calls,
        cgroups: Cgroups | None,
        trees: Trees,
        known: set[int],
        launch: Callable[[dict[str, Any], dict[int, int], str | None], tuple[int, int]],
        has_begun: Callable[[int], None],
        watch: Callable[[int, int, Callable[[int], None]], None],
        unwatch: Callable[[int], None],
        tell: Callable[[dict[str, Any]], None],
        traces: Traces,
    ) -> None:
        """Begin with none; the arguments are as those of `Runs`.

        *launch* starts a process from a request, with these descriptors, in this cgroup;
        *has_begun* is told its pid when its program runs, unless that was so at once.
        """
        self._calls = calls
        self._cgroups = cgroups
        self._trees = trees
        self._known = known
        self._launch = launch
        self._has_begun = has_begun
        self._watch = watch
        self._unwatch = unwatch
        self._tell = tell
        self._traces = traces
        self._by_pid: dict[int, Probe] = {}
        self._by_tree: dict[Run, Probe] = {}
        self._by_run: dict[Run, list[Probe]] = {}
        #: Runs of which only probes are left.
        self._held: set[Run] = set()
        self._count = 0

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`; None: not at all."""
        due = (probe.deadline_s for probe in self._by_tree.values())
        return min((at_s for at_s in due if at_s is not None), default=None)

    @property
    def are_gone(self) -> bool:
        """Whether nothing of any probe is alive."""
        return not self._by_tree

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return every probe as JSON; *keep* is called with each descriptor."""
        probes = [
            {**probe.pack(keep), "kills": self._trees.kills(probe.tree)}
            for probe in self._by_tree.values()
        ]
        return {"all": probes, "held": [run.key for run in self._held], "count": self._count}

    def unpack(self, said: dict[str, Any], runs: Mapping[Key, Run]) -> None:
        """Go on with what was packed, about these *runs*."""
        self._count = said.get("count", 0)
        self._held = {runs[key] for key in map(key_of, said.get("held", ()))}
        for each in said.get("all", ()):
            probe = Probe.unpacked(each, runs[key_of(each["run"])])
            self._by_tree[probe.tree] = probe
            self._by_run.setdefault(probe.run, []).append(probe)
            self._trees.resume(probe.tree, each.get("kills"))
            if not probe.tree.ended:
                self._by_pid[probe.tree.pid] = probe
            if probe.reader >= 0:
                self._watch(probe.reader, select.EPOLLIN, self._reading(probe))
            self._await_setup(probe)

    def _reading(self, probe: Probe) -> Callable[[int], None]:
        return lambda _mask: self._read(probe)

    # -- beginning ---------------------------------------------------------------------------------

    def begin(self, run: Run, request: dict[str, Any], now_s: float) -> None:
        """Start what a request of the supervisor wants; one of before gives way to it."""
        self.end(run, now_s)
        if run.ended:
            return
        self._count += 1
        reader = writer = report = -1
        cgroup: str | None = None
        number = request["number"]
        try:
            # A lack is noticed before there is a process.
            limits, tree = request["cgroup"], Run(run.key, 0, request["marker"], None)
            probe = Probe(run, tree, request, now_s)
            reader, writer = self._pipe()
            cgroup = self._make_cgroup(f"{run.key[0]}.{run.key[1]}.{run.key[2]}.probe{self._count}")
            name = request.get("name", run.key[0])  # a supervisor of before does not say it
            self._traces.note(
                request["marker"], what="probe", key=run.key, name=name, cgroup=cgroup
            )
            pid, report = self._launch(request, {1: writer, 2: writer}, cgroup)
            self._traces.born(request["marker"], pid)
        except Exception as error:  # noqa: BLE001  # whatever it is, the supervisor waits to hear
            self._traces.gone(request["marker"])
            if cgroup is not None and self._cgroups is not None:
                self._cgroups.remove(cgroup)
            if reader >= 0:
                self._calls.close(reader)
            known = error if isinstance(error, StageError) else StageError("fork", repr(error))
            self._tell_outcome(run, number, _not_started(known))
            return
        finally:
            if writer >= 0:
                self._calls.close(writer)
        tree.pid, tree.cgroup = pid, cgroup
        probe.report, probe.reader = report, reader
        self._known.add(pid)
        self._by_pid[pid] = self._by_tree[probe.tree] = probe
        self._by_run.setdefault(run, []).append(probe)
        self._watch(reader, select.EPOLLIN, self._reading(probe))
        self._await_setup(probe)
        self._limit(probe, limits, now_s)

    def _pipe(self) -> tuple[int, int]:
        try:
            reader, writer = self._calls.pipe2(os.O_CLOEXEC)
        except OSError as error:
            raise StageError(stage="log", reason=cause(error)) from None
        os.set_blocking(reader, False)
        return reader, writer

    def _make_cgroup(self, name: str) -> str | None:
        if self._cgroups is None:
            return None
        try:
            return self._cgroups.create(name)
        except OSError as error:
            raise StageError(stage="cgroup", reason=cause(error)) from None

    def _limit(self, probe: Probe, limits: dict[str, str], now_s: float) -> None:
        cgroup = probe.tree.cgroup
        if self._cgroups is None or cgroup is None or not limits:
            return
        self._cgroups.leave()
        try:
            self._cgroups.limit(cgroup, limits)
        except OSError as error:
            self._finish(probe, now_s, _not_started(StageError("cgroup", cause(error))))

    # -- its words ---------------------------------------------------------------------------------

    def _read(self, probe: Probe) -> None:
        """Read what is there: a pipe holds no more than that."""
        try:
            data = self._calls.read(probe.reader, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        probe.read_bytes += len(data)
        probe.output = (probe.output + data)[-_KEPT_BYTES:]
        if not data or probe.read_bytes > _MOST_BYTES:
            self._close_reader(probe)

    def _close_reader(self, probe: Probe) -> None:
        if probe.reader >= 0:
            self._unwatch(probe.reader)
            self._calls.close(probe.reader)
            probe.reader = -1

    def _await_setup(self, probe: Probe) -> None:
        if probe.report >= 0:
            self._watch(probe.report, select.EPOLLIN, lambda _mask: self._read_report(probe))

    def _read_report(self, probe: Probe) -> None:
        """Read the set-up pipe: its end without a word means that exec has worked."""
        try:
            while data := self._calls.read(probe.report, 4096):
                probe.told += data
        except BlockingIOError:
            if not probe.tree.ended:
                return
        except OSError:
            pass  # as good as its end
        self._unwatch(probe.report)
        self._calls.close(probe.report)
        probe.report = -1
        if not probe.told and not probe.tree.ended:
            self._has_begun(probe.tree.pid)

    # -- ends --------------------------------------------------------------------------------------

    def reaped(self, dead: Ended, now_s: float) -> None:
        """Take the end of a leader, if it was one."""
        probe = self._by_pid.pop(dead.pid, None)
        if probe is None:
            return
        probe.tree.ended = True
        if probe.reader >= 0:
            self._read(probe)
        outcome: dict[str, Any] = {"code": dead.code, "signal": dead.signal}
        if probe.report >= 0:
            self._read_report(probe)
        if probe.told:
            outcome = _not_started(read_report(probe.told))
        self._finish(probe, now_s, {**outcome, "line": _last_line(probe.output)})

    def _finish(self, probe: Probe, now_s: float, outcome: dict[str, Any] | None) -> None:
        """Tell what it came to, unless that was told; and clear away what is left of it."""
        if probe.deadline_s is not None:
            probe.deadline_s = None
            if outcome is not None:
                self._tell_outcome(probe.run, probe.number, outcome)
        self._trees.clear(probe.tree, now_s)

    def _tell_outcome(self, run: Run, number: int, outcome: dict[str, Any]) -> None:
        self._tell({"probed": [*run.key, number, outcome]})

    def expire(self, now_s: float) -> None:
        """End those whose time is up."""
        for probe in self._by_tree.values():
            if probe.deadline_s is not None and now_s >= probe.deadline_s:
                self._finish(probe, now_s, {"late_s": probe.timeout_s})

    def forgive(self, now_s: float) -> None:
        """We were stopped ourselves: whoever looks late has its whole time again."""
        for probe in self._by_tree.values():
            if probe.deadline_s is not None:
                probe.deadline_s = now_s + probe.timeout_s

    def end(self, run: Run, now_s: float) -> None:
        """Nobody wants to know any more whether *run* works."""
        for probe in self._by_run.get(run, ()):
            self._finish(probe, now_s, None)

    def end_all(self, now_s: float) -> None:
        """Whoever had asked is gone, or the daemon ends."""
        for probe in self._by_tree.values():
            self._finish(probe, now_s, None)

    def settle(self, empty: set[Run]) -> set[Run]:
        """Return the runs of which nothing is left, probes included.

        Args:
            empty: The trees, of runs and of probes, that have become empty.
        """
        settled = set()
        for tree in empty:
            probe = self._by_tree.pop(tree, None)
            if probe is None:
                if tree in self._by_run:
                    self._held.add(tree)
                else:
                    settled.add(tree)
                continue
            self._traces.gone(tree.marker)
            self._close_reader(probe)
            left = self._by_run[probe.run]
            left.remove(probe)
            if not left:
                del self._by_run[probe.run]
                if probe.run in self._held:
                    self._held.discard(probe.run)
                    settled.add(probe.run)
        return settled


def _not_started(error: StageError) -> dict[str, Any]:
    # All other stages fail for reasons that are the machine's, or the worker's own table's.
    return {"not_started": error.reason, "is_its_own": error.stage == "exec"}


def _last_line(output: bytes) -> str:
    """Return the last line that says something, printable."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return "".join(c if c.isprintable() else "?" for c in last[:_MAX_LINE_CHARS])
