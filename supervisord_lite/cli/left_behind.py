"""What a keeper that was killed left alive is ended before anything is started.

Theory of operation
===================

Under systemd a main process that is killed ends the whole unit. Nobody does that elsewhere: workers
live on without a parent, and a second process of the same slot may do harm that none can undo. So
`run`, which holds the lock of the state folder and thereby knows that no keeper of it lives, looks
for what one has left (left_found.py), ends it, and says so.

=====================  =============================================================================
what is left           what is done
=====================  =============================================================================
a run                  the first signal of its stop ladder, as the file has it now (else SIGTERM),
                       to its leader or to the whole tree; where no leader is left to obey, to all.
                       SIGKILL to what is there when the leader has ended or its time is over: that
                       of the whole ladder, `MOST_STOP_S` at most
a forkserver,          they leave by themselves; in two seconds they are killed. The scribe writes
supervisor, scribe     what workers had said by then
a probe                is killed
something that is not  is not signalled at all, and its slot does not start
proved to be ours
what lives after that  its slot does not start: see keeper/held.py
we are below it        nothing is done, and there is no daemon: it would end us, too
its keeper lives       the same: our folder has but the path of that one's (another mount)
=====================  =============================================================================

Whoever ends is addressed by a pidfd, and who that is was looked at while it was open; or by its
cgroup. Killed at any moment, `run` can be called again: the lock names the file of traces until
there is a new one, which begins with what is held.

Two `run`s at once: one has the lock. It may be held for a moment by what a dead keeper had begun to
start: a child that has not come as far as exec. It is waited for.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from supervisord_lite.base.errors import PermissionRefusedError
from supervisord_lite.base.record import record
from supervisord_lite.cli.left_found import Left, Search, Trace, has_role, members
from supervisord_lite.cli.text import count
from supervisord_lite.cli.traces_file import (
    file_systems,
    name_kept_by,
    name_of,
    read_traces,
    refusal,
)
from supervisord_lite.core.policy import Policy
from supervisord_lite.keeper.calls import Calls
from supervisord_lite.keeper.cgroups import folder_name, place
from supervisord_lite.keeper.trees import process, send, wait_for_any

#: Of a whole stop ladder.
MOST_STOP_S = 30.0
#: For those who leave by themselves.
_LEAVE_S = 2.0
#: For those who show nothing: they may just be ending.
_SHOW_S = 1.0
#: From SIGKILL on.
_KILL_S = 10.0
_FIRST_ROUND_S = 0.005
_LAST_ROUND_S = 0.2
_MOST_NAMED = 20
_MOST_WAITED = 100
_MOST_TOLD = 1000


@record
class Outcome:
    """What came of it.

    Attributes:
        ended: Who is gone, by pid.
        killed: Those of them that took SIGKILL.
        held: Who is not.
    """

    ended: dict[int, Left]
    killed: frozenset[int]
    held: tuple[Left, ...]

    @property
    def slots(self) -> list[list[Any]]:
        """Return (pool, index, pid, started) of what holds a slot."""
        return [
            [*each.trace.slot, each.found.pid, each.found.started]
            for each in self.held
            if each.trace.slot is not None and each.trace.what != "probe"
        ]

    def told(self) -> str:
        """Return what the supervisor tells of it, as JSON; empty: there was nothing."""
        if not self.ended and not self.held:
            return ""
        by_run: dict[tuple[Any, ...], list[Left]] = {}
        for each in self.ended.values():
            if each.trace.slot is not None:
                by_run.setdefault((*each.trace.slot, each.trace.run), []).append(each)
        runs = [[*run, len(all_), _named(all_)] for run, all_ in [*by_run.items()][:_MOST_TOLD]]
        about = {"ended": len(self.ended), "killed": len(self.killed), "held": len(self.held)}
        return json.dumps({"about": about, "runs": runs, "names": _told(self.ended.values())})


def end_left_behind(
    state_dir: str,
    paths: Iterable[str],
    policies: Mapping[str, Policy],
    tell: Callable[[str], None],
) -> Outcome:
    """End what an earlier keeper of *state_dir*, whose lock is ours, has left.

    Args:
        state_dir: The folder.
        paths: Where its file of traces may be.
        policies: How pools are stopped, as the file has it now.
        tell: Takes lines for people.

    Raises:
        PermissionRefusedError: We are ourselves below what is left, or its keeper lives.
    """
    traces: list[Trace] = []
    for path in dict.fromkeys(paths):
        found, why = read_traces(path, state_dir)
        traces += found
        if why:
            tell(f"warning: what a daemon that was killed has left may not all be found: {why}")
    search = Search(traces, _folders(traces, name_of(state_dir)))
    left = search.look()
    if not left:
        _remove_cgroups(search.cgroups)
        return Outcome({}, frozenset(), ())
    _refuse_if_below(left)
    _refuse_if_kept(left, state_dir)
    ours = [each for each in left.values() if each.is_ours]
    if ours:
        what = count(len(ours), "process")
        tell(f"ending {what} that a killed daemon has left: {_told(ours)}")
    outcome = _Ending(search, policies).run(left)
    _remove_cgroups(search.cgroups)
    for each in outcome.held:
        kind = "cannot be ended" if each.is_ours else "is not ended: it does not show whose it is"
        then = "" if each.trace.slot is None else "; that does not start while it lives"
        who = f"process {each.found.pid} {each.found.name}"
        tell(f"warning: {who} {kind}, left of {each.trace.name}{then}")
    return outcome


class _Ending:
    """All that is left, on its way out."""

    def __init__(self, search: Search, policies: Mapping[str, Policy]) -> None:
        self._search = search
        self._policies = policies
        self._calls = Calls()
        self._seen: dict[int, Left] = {}
        self._killed: set[int] = set()
        #: When what is left of a tree is killed, by identity of the trace.
        self._kill_at_s: dict[Trace, float] = {}
        self._led: set[Trace] = set()

    def run(self, left: dict[int, Left]) -> Outcome:
        """End them; *left* is what the first look has found."""
        pause_s = _FIRST_ROUND_S
        give_up_s: float | None = None
        began_s = time.monotonic()
        while left:
            now_s = time.monotonic()
            ours = [each for each in left.values() if each.is_ours]
            if not ours:
                # In the middle of exec, or of its end, nobody shows anything.
                if now_s >= began_s + _SHOW_S:
                    break
                wait_for_any(self._calls, left, _FIRST_ROUND_S)
                left = self._look(left)
                continue
            if give_up_s is None and all(
                now_s >= self._kill_at_s.get(each.trace, now_s + 1) for each in ours
            ):
                give_up_s = now_s + _KILL_S
            elif give_up_s is not None and now_s >= give_up_s:
                break
            self._round(ours, now_s)
            self._wait(ours, pause_s)
            pause_s = min(pause_s * 2, _LAST_ROUND_S)
            left = self._look(left)
        gone = {pid: each for pid, each in self._seen.items() if pid not in left}
        return Outcome(gone, frozenset(self._killed & set(gone)), tuple(left.values()))

    def _look(self, left: dict[int, Left]) -> dict[int, Left]:
        """Look again; what was ours stays so, also when its end has taken its marks away."""
        found = self._search.look()
        for pid, each in left.items():
            if not each.is_ours or (pid in found and found[pid].is_ours):
                continue
            found.pop(pid, None)
            try:
                again = process(self._calls, pid)
            except OSError:
                again = each.found
            if again is not None and again.started == each.found.started and not again.zombie:
                found[pid] = each
        return found

    def _round(self, ours: list[Left], now_s: float) -> None:
        leaders = {each.trace for each in ours if each.is_leader}
        for each in ours:
            trace = each.trace
            is_new = each.found.pid not in self._seen
            self._seen.setdefault(each.found.pid, each)
            if trace not in self._kill_at_s:
                self._kill_at_s[trace] = now_s + self._patience_s(trace)
                if trace in leaders:
                    self._led.add(trace)
            if now_s >= self._kill_at_s[trace] or (trace in self._led and trace not in leaders):
                self._kill_at_s[trace] = min(self._kill_at_s[trace], now_s)
                self._kill(each)
            elif is_new:
                self._ask(each, is_led=trace in leaders)

    def _patience_s(self, trace: Trace) -> float:
        if trace.what == "probe":
            return 0.0
        if trace.what != "run":
            return _LEAVE_S
        return min(sum(rung.timeout_s for rung in self._policy(trace).stop_ladder), MOST_STOP_S)

    def _policy(self, trace: Trace) -> Policy:
        pool = "" if trace.slot is None else trace.slot[0]
        return self._policies.get(pool) or Policy()

    def _ask(self, each: Left, *, is_led: bool) -> None:
        if each.trace.what == "run":
            policy = self._policy(each.trace)
            if each.is_leader or not is_led or policy.stop_scope == "tree":
                send(self._calls, each.found, policy.stop_ladder[0].signal)
        send(self._calls, each.found, signal.SIGCONT)  # a stopped process would never see it

    def _kill(self, each: Left) -> None:
        self._killed.add(each.found.pid)
        if each.trace.cgroup is not None:
            with contextlib.suppress(OSError):  # before Linux 5.14 one by one
                Path(each.trace.cgroup, "cgroup.kill").write_text("1")
        send(self._calls, each.found, signal.SIGKILL)

    def _wait(self, ours: Iterable[Left], pause_s: float) -> None:
        """Wait until one of them has ended, or for *pause_s*."""
        due_s = min(self._kill_at_s.values()) - time.monotonic()
        limit_s = min(pause_s, due_s) if due_s > 0 else pause_s
        wait_for_any(self._calls, [each.found.pid for each in ours][:_MOST_WAITED], limit_s)


def _refuse_if_below(left: Mapping[int, Left]) -> None:
    for pid in _line_of_descent():
        if pid in left:
            own = left[pid]
            message = (
                f"this command runs below process {pid} {own.found.name}, which a killed daemon "
                f"has left of {own.trace.name}: it would be ended with it"
            )
            hint = "run it from elsewhere, or end that process first"
            raise PermissionRefusedError(message, hint=hint)


def _line_of_descent() -> Iterator[int]:
    """Yield our pid, and those of whom we are below."""
    calls = Calls()
    pid = os.getpid()
    while pid > 0:
        yield pid
        found = process(calls, pid)
        pid = 0 if found is None else found.parent


def _refuse_if_kept(left: Mapping[int, Left], state_dir: str) -> None:
    """Refuse to end what has a living keeper, also where its file of traces is not seen from here.

    A keeper is the parent of all it has. One of another daemon may have become that (it takes what
    is below it): that one has a file of another name, or we are below it, too.
    """
    above = set(_line_of_descent())
    for pid in {each.found.parent for each in left.values()} - left.keys():
        if has_role(pid, "keeper"):
            name = name_kept_by(pid)
            if name == name_of(state_dir) or (name is None and pid not in above):
                raise refusal(pid, state_dir)


def _named(found: Iterable[Left]) -> str:
    names = [f"{each.found.pid} {each.found.name}" for each in found]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _told(found: Iterable[Left]) -> str:
    """Return who they are, by what they are of: "web-1 (4123 sh, 4130 sleep), the scribe (…)"."""
    by_name: dict[str, list[Left]] = {}
    for each in found:
        by_name.setdefault(each.trace.name, []).append(each)
    words = [f"{name} ({_named(all_)})" for name, all_ in [*by_name.items()][:_MOST_NAMED]]
    more = f" and of {len(by_name) - _MOST_NAMED} more" if len(by_name) > _MOST_NAMED else ""
    return ", ".join(words) + more


# -- cgroups ---------------------------------------------------------------------------------------


def _folders(traces: Iterable[Trace], name: str) -> list[str]:
    """Return where cgroups of runs are: where ours would be, and where the keeper had them.

    The latter only where the folder has our name and is a cgroup: what stands in the file may be
    anything.
    """
    found = place(Calls(), name)
    here = None if found is None else f"{found[0]}/workers"
    folders = {} if here is None else {here: None}
    for trace in traces:
        workers, _, _ = (trace.cgroup or "").rpartition("/")
        base, _, last = workers.rpartition("/")
        if last == "workers" and workers not in folders and base.endswith(f"/{folder_name(name)}"):
            folders[workers] = None
    kinds = file_systems()
    return [folder for folder in folders if _is_cgroup(folder, kinds)]


def _is_cgroup(folder: str, kinds: Mapping[str, str]) -> bool:
    try:
        device = Path(folder).stat().st_dev
        is_plain = str(Path(folder).resolve()) == folder
    except OSError:
        return False
    return is_plain and kinds.get(f"{os.major(device)}:{os.minor(device)}") == "cgroup2"


def _remove_cgroups(paths: Iterable[str]) -> None:
    """Remove what is empty, with the folders that it is in where those have our name."""
    bases = set()
    for path in paths:
        if members(path):
            continue
        workers = Path(path).parent
        bases.add(workers)
        for folder, _, _ in os.walk(path, topdown=False):
            _rmdir(folder)
    for workers in bases:
        if workers.parent.name.startswith("supervisord-lite."):
            _rmdir(workers)
            _rmdir(workers.parent)


def _rmdir(path: str | Path) -> None:
    try:
        os.rmdir(path)  # noqa: PTH106
    except OSError:
        return  # somebody lives there, or it has gone
