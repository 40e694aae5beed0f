"""Changes that break the program on purpose, each of them small: every one must be noticed.

A mutant is a file of the package, a text in it, and the text instead. When the text is no longer
there a test says so: then the mutant is to be written anew for what does its work now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        file: Below the package.
        kind: Which world must notice it.
        first: Its first seed; another than 0 where only a rare history shows the fault.
    """

    name: str
    file: str
    old: str
    new: str
    kind: Literal["fast", "whole"] = "fast"
    first: int = 0


MUTANTS = (
    # -- two runs of one slot
    Mutant(
        "the old run goes on beside the new one", "core/swap.py",
        "        self.twin = going\n        self.actions += actions\n",
        "        self.twin = going\n",
    ),
    Mutant(
        "down means one of two", "core/swap.py",
        "elif self.twin is not None and isinstance(state, Stopped):", "elif False:",
    ),
    Mutant(
        "the number of a rejected run is used again", "core/swap.py",
        "if run is not None and run > max(self.worker.run, self.worker.spent):", "if False:",
    ),
    Mutant(
        "whoever crashes while it is replaced has failed", "core/swap.py",
        "if may_give_way and isinstance(event, _ENDS) and event.run == worker.run:", "if False:",
    ),
    Mutant(
        "a stop forgets who is coming", "core/swap.py",
        "                self._worker_hears(event)\n                self._go_down(event)\n",
        "                self._worker_hears(event)\n",
    ),
    Mutant(
        "who was ready before its end is rejected", "core/swap.py",
        "            if isinstance(ready.state, Running):\n                self.actions",
        "            if False:\n                self.actions",
    ),
    Mutant(
        "a new run beside the old one does not wait for its turn", "core/swap.py",
        'return "" if ask == "stop" else self._gate(ask)', 'return ""',
    ),
    Mutant(
        "a roll swaps one more than it may", "core/roll.py",
        "if seconds < roll.max_surge and", "if seconds <= roll.max_surge and", kind="whole",
    ),
    Mutant(
        "a supervisor forgets who is coming", "supervisor/fleet.py",
        "        self.core.put_twin(slot, saved.twin)\n        self._arm(slot)\n",
        "        self._arm(slot)\n",
        kind="whole",
    ),
    Mutant(
        "who is late beside the old one is a failure", "core/swap.py",
        'moved = moved.in_state(replace(after, outcome="rejected"))', "pass",
    ),
    # -- backoff and breaker
    Mutant(
        "backoff begins with the second wait", "core/backoff.py",
        "factor ** (attempt - 1))", "factor ** attempt)",
    ),
    Mutant(
        "jitter is drawn from below the half", "core/backoff.py",
        "half_s = delay_s / 2", "half_s = delay_s / 4",
    ),
    Mutant(
        "the longest wait is not the longest", "core/backoff.py",
        "return min(high_s, low_s * factor", "return max(high_s, low_s * factor",
    ),
    Mutant(
        "one failure more than allowed", "core/breaker.py",
        "len(failures) >= max_restarts", "len(failures) > max_restarts",
    ),
    Mutant(
        "the window does not slide", "core/breaker.py",
        "horizon_s = times[-1] - window_s", "horizon_s = times[0] - window_s",
    ),
    Mutant(
        "a stable run is forgotten", "core/ends.py",
        "attempt = 1 if _was_stable(worker, ended) else worker.attempt + 1",
        "attempt = worker.attempt + 1",
    ),
    Mutant(
        "what is hopeless is tried again", "core/ends.py",
        "if hopeless or ended.was_probing or is_over:", "if ended.was_probing or is_over:",
    ),
    Mutant(
        "a failed trial closes the breaker", "core/ends.py",
        "if hopeless or ended.was_probing or is_over:", "if hopeless or is_over:",
    ),
    Mutant(
        "never trips under never", "core/ends.py",
        'is_over = policy.restart != "never" and is_full', "is_over = is_full",
    ),
    Mutant(
        "a missing file is tried as fast as anything", "core/ends.py",
        "policy.backoff.max_s if missing else draw_s(full_s, policy.backoff, rng, now_s=now_s)",
        "draw_s(full_s, policy.backoff, rng, now_s=now_s)",
    ),
    Mutant(
        "a failure counts when it is cleared away", "core/ends.py",
        "at_s = now_s if ended.exited_at_s is None else ended.exited_at_s\n    failures",
        "at_s = now_s\n    failures",
    ),
    Mutant(
        "a good end on trial leaves the breaker half open", "core/ends.py",
        "    if ended.was_probing:\n        rested, reset", "    if False:\n        rested, reset",
    ),
    Mutant(
        "an ok exit loops as fast as it can", "core/ends.py",
        'policy.restart == "always" and _was_stable(worker, ended)', 'policy.restart == "always"',
    ),
    Mutant(
        "a start while a failure is cleared away is forgotten", "core/ends.py",
        "    if ended.start_again:\n", "    if False:\n",
    ),
    # -- orders, stops and facts
    Mutant(
        "a stop while restarting is forgotten", "core/orders.py",
        'elif state.outcome != "shutdown":', "elif False:",
    ),
    Mutant(
        "a start undoes a shutdown", "core/orders.py",
        'case "stopped":\n            again =',
        'case "stopped" | "shutdown":\n            again =',
    ),
    Mutant(
        "a smaller count keeps all failures", "core/orders.py",
        "failures = worker.failures[-policy.max_restarts :]", "failures = worker.failures",
    ),
    Mutant(
        "a reload takes back a kill", "core/orders.py",
        "state = replace(state, rung=len(policy.stop_ladder))", "pass", first=60,
    ),
    Mutant(
        "the tree is not killed after the ladder", "core/moves.py",
        "return moved, (KillTree(stopping.run),)", "return moved, ()",
    ),
    Mutant(
        "a rung has no time", "core/moves.py",
        "deadline_s = now_s + ladder[rung].timeout_s", "deadline_s = now_s",
    ),
    Mutant(
        "a restart is no restart", "core/moves.py",
        "restarts=worker.restarts + 1), (Spawn(run),)", "restarts=worker.restarts), (Spawn(run),)",
    ),
    Mutant(
        "a recycle is a stop", "core/moves.py",
        "replace(moved.state, recycle=reason)", 'replace(moved.state, outcome="stopped")',
    ),
    Mutant(
        "nobody counts recycles", "core/ends.py",
        "recycles=worker.recycles + 1", "recycles=worker.recycles",
    ),
    Mutant(
        "a restart after a recycle is one", "core/orders.py",
        'reason="restart", recycle="")', 'reason="restart")',
    ),
    Mutant(
        "too late is never", "core/moves.py",
        "if now_s < min(late_at_s, overdue_at_s):", "if now_s < max(late_at_s, overdue_at_s):",
    ),
    Mutant(
        "old answers count", "core/step.py",
        "if isinstance(event, _OF_RUN) and event.run != worker.run:", "if False:",
    ),
    Mutant(
        "a late wake-up decides", "core/step.py",
        "moved, actions = moves.ready_if_due(worker, state, now_s)\n    assert",
        "moved, actions = worker, ()\n    assert",
    ),
    Mutant(
        "a spawn that got lost is waited for", "core/step.py",
        "return worker, (Spawn(state.run),)", "return worker, ()",
    ),
    Mutant(
        "a stop before the spawn's answer is forgotten", "core/step.py",
        "return _spawned_to_stop(worker, state, event, now_s)", "return worker, ()",
    ),
    Mutant(
        "stopped is said while others of the tree live", "core/ends.py",
        "return settle(moved, ended, now_s, rng) if emptied else (moved, ())",
        "return settle(moved, ended, now_s, rng)",
    ),
    Mutant(
        "a crash forgets the backoff", "core/records.py",
        'attempt=_checked("attempt", record.get("attempt"), int)', "attempt=0",
    ),
    # -- turns
    Mutant(
        "nobody waits for what he requires", "core/gates.py",
        "reason = gate(then)\n", 'reason = ""\n',
    ),
    Mutant(
        "whoever is required is stopped first", "core/gates.py",
        'reason = gate("stop") if is_first else ""', 'reason = ""',
    ),
    Mutant(
        "nobody is told that his turn has come", "core/standing.py",
        "self.woken.extend(sorted(self._waiting[each].union(self._twins.get(each, ()))))",
        "pass",
    ),
    Mutant(
        "half a pool is a pool", "core/standing.py",
        "is_ready=ready > 0 and ready + counts[_IDLE] == size", "is_ready=ready > 0",
    ),
    Mutant(
        "who is held is signalled after his end", "core/ends.py",
        '        held_by="",', "        held_by=stopping.held_by,", first=100,
    ),
    # -- the supervisor and the keeper's table
    Mutant(
        "facts are said to be applied before they are saved", "supervisor/outbox.py",
        "        while self._requests:\n",
        '        self._send({"applied": self._applied})\n'
        "        while self._requests:\n",
        kind="whole",
    ),
    Mutant(
        "requests travel without their records", "supervisor/outbox.py",
        '        self._send({"save": saves, "do": todo}, told)\n\n',
        '        self._send({"do": todo})\n        self._send({"save": saves}, told)\n\n',
        kind="whole",
    ),
    Mutant(
        "only the last request of a page is sent", "supervisor/outbox.py",
        "todo += [request for request, _ in fitting]", "todo = [request for request, _ in fitting]",
        kind="whole",
    ),
    Mutant(
        "deadlines die with the supervisor", "supervisor/fleet.py",
        "        self.core.put_twin(slot, saved.twin)\n        self._arm(slot)\n",
        "        self.core.put_twin(slot, saved.twin)\n",
        kind="whole",
    ),
    Mutant(
        "a signal of the stop ladder goes to the wrong run", "supervisor/launch.py",
        '"run": action.run}', '"run": action.run - 1}',
        kind="whole",
    ),
    Mutant(
        "a run that the replay begins is lost", "supervisor/adoption.py",
        "run in restored and ", "", kind="whole", first=9,
    ),
    Mutant(
        "the daemon ends before its workers", "supervisor/daemon_state.py",
        "        return not left\n", "        return True\n", kind="whole",
    ),
    Mutant(
        "a shutdown tells nobody", "supervisor/daemon_state.py",
        "        self._fleet.core.end()\n        self._fleet.feed_all(events.ShutdownRequested"
        "(at_once=self.at_once))\n",
        "        self._fleet.core.end()\n",
        kind="whole",
    ),
    Mutant(
        "one signal counts twice", "supervisor/daemon_state.py",
        "if number <= self.seen:", "if False:", kind="whole", first=11,
    ),
    Mutant(
        "a critical worker's end is nobody's", "supervisor/daemon_state.py",
        "if escalation is None:", "if True:", kind="whole",
    ),
    Mutant(
        "stopped is told while it is stopping", "supervisor/orders.py",
        'if isinstance(state, Stopped):\n            return Outcome("stopped", ok=True)',
        'if isinstance(state, Stopped | Stopping):\n            return Outcome("stopped", ok=True)',
        kind="whole",
    ),
    Mutant(
        "whoever waits is not told", "supervisor/orders.py",
        "self._decided += [(order, outcome) for order, outcome in decided if outcome is not None]",
        "pass",
        kind="whole",
    ),
    Mutant(
        "a stop of several begins with the first", "supervisor/verbs.py",
        "in_order.reverse()", "pass", kind="whole", first=22,
    ),
    Mutant(
        "a stop by hand decides nothing", "supervisor/daemon_state.py",
        "isinstance(after.state, Tripped | Stopped)", "isinstance(after.state, Tripped)",
        kind="whole", first=110,
    ),
    Mutant(
        "a roll dies with its supervisor", "supervisor/rolls.py",
        "if key.startswith(_KEY) and text and pool in fleet.specs:", "if False:", kind="whole",
    ),
    Mutant(
        "a roll takes one more than it may", "core/roll.py",
        "len(away) < roll.max_unavailable or", "len(away) <= roll.max_unavailable or", kind="whole",
    ),
    Mutant(
        "a roll restarts who was stopped", "core/roll.py",
        "return worker is not None and _is_there(worker) and", "return worker is not None and",
        kind="whole",
    ),
    Mutant(
        "a pid is a pid after its end", "keeper/table.py",
        "        run.ended = True\n", "", kind="whole", first=15,
    ),
    Mutant(
        "what has happened meanwhile is not handed over", "keeper/table.py",
        '"facts": list(self.facts),\n                "inventory"', '"facts": [], "inventory"',
        kind="whole",
    ),
    Mutant(
        "facts are kept for ever", "keeper/table.py",
        'self.facts[0]["n"] <= self.applied', 'self.facts[0]["n"] < self.applied', kind="whole",
    ),
    # -- reloads and sizes
    Mutant(
        "a switch is several messages", "supervisor/outbox.py",
        "        self._is_whole = True\n", "", kind="whole",
    ),
    Mutant(
        "a live key restarts", "config/plan.py",
        '    if key[0] != "log":\n        return "live"',
        '    if key[0] != "log":\n        return "restart"',
        kind="whole",
    ),
    Mutant(
        "who has no place is forgotten before its tree is empty", "supervisor/fleet.py",
        "if slot in self.leaving and isinstance(self.workers[slot].state, Stopped):",
        "if slot in self.leaving:",
        kind="whole",
    ),
    Mutant(
        "a reload starts what was stopped by hand", "supervisor/changeover.py",
        "    wanted = [slot for slot in (*new, *back) if slot not in fleet.leaving]",
        "    wanted = [slot for slot in fleet.workers if slot not in fleet.leaving]\n"
        "    before = {}",
        kind="whole",
    ),
    Mutant(
        "a refused file is put in force", "supervisor/reload.py",
        "            self._refused(answer)\n",
        "            plan = make_plan(self._fleet.specs.values(), ())\n"
        "            change_over(self._fleet, self._rolls, plan, ())\n"
        "            self._refused(answer)\n",
        kind="whole",
    ),
    Mutant(
        "a dry run changes things", "supervisor/reload.py",
        "        if not is_dry:\n            self.refusal = None",
        "        if True:\n            self.refusal = None",
        kind="whole",
    ),
    Mutant(
        "a SIGHUP dies with the supervisor", "supervisor/reload.py",
        'self._fleet.outbox.save("reload_wanted", str(self._tries), first=True)', "pass",
        kind="whole",
    ),
    Mutant(
        "a size by hand is forgotten by a reload", "supervisor/reload.py",
        "found = sized(answer.configuration.specs, self.in_force.by_hand)",
        "found = sized(answer.configuration.specs, {})",
        kind="whole",
    ),
    Mutant(
        "whoever asks during a reading is never told", "supervisor/reload.py",
        "            elif self._next:\n                self._begin_next()",
        "            else:\n                self._next = []",
        kind="whole",
    ),
    Mutant(
        "what is set up keeps its old log", "supervisor/twins.py",
        "runs = [worker.run] if isinstance(worker.state, Live | Stopping) else []",
        'runs = [worker.run] if getattr(worker.state, "pid", None) is not None else []',
        kind="whole", first=79,
    ),
    # -- jobs
    Mutant(
        "a planned run begins with the failures of the one before", "core/moves.py",
        'run=run, attempt=0, failures=(), is_owed=False)', 'run=run, is_owed=False)',
    ),
    Mutant(
        "the breaker of a job opens", "core/ends.py",
        "    if policy.schedule is not None:\n        is_given_up",
        "    if False:\n        is_given_up",
    ),
    Mutant(
        "a job is tried again for ever", "core/ends.py",
        'hopeless or is_over or policy.restart == "never"', 'policy.restart == "never"',
    ),
    Mutant(
        "what is owed is forgotten", "core/jobs.py",
        "    if worker.is_owed:\n        return moves.start_due",
        "    if False:\n        return moves.start_due",
    ),
    Mutant(
        "two runs overlap later where one is to be left out", "core/jobs.py",
        "if waits and not worker.is_owed:", "if not worker.is_owed:",
    ),
    Mutant(
        "what was missed runs against the wish", "core/jobs.py",
        'not event.is_missed or schedule.missed == "once"', "True",
    ),
    Mutant(
        "a plan outlives a stop", "core/step.py",
        "if after is states.Stopped and", "if after is states.Backoff and",
    ),
    Mutant(
        "the boot runs every job", "core/step.py",
        "case events.StartRequested(by_itself=True) if worker.policy.schedule is not None:",
        "case events.StartRequested(by_itself=True) if False:",
    ),
    Mutant(
        "a planned run does not wait for what it requires", "core/standing.py",
        'if ask not in ("start", "due"):',
        'if ask == "due":\n            return ""\n        if ask != "start":',
    ),
    Mutant(
        "another schedule goes on with the old plan", "core/orders.py",
        "worker = replace(worker, settled_s=None, is_owed=False)", "pass",
    ),
)  # fmt: skip
