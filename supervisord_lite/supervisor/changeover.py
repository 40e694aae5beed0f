"""From one configuration to another, in one step that nobody can see half of.

Everything that a change leads to (specs, records, requests) leaves as one message (`Outbox.whole`):
a supervisor that is killed at any moment has changed all of it, or nothing. What takes its time,
the stops and the starts, is in the records then, and goes on under whoever comes next.
"""

import json
from collections.abc import Iterable, Mapping, Set

from supervisord_lite.base.record import record, replace
from supervisord_lite.config.expand import instance_text
from supervisord_lite.config.plan import Changed, Plan
from supervisord_lite.config.spec import MAX_PROCESSES, Launch, LogTarget, Settings, Spec, to_json
from supervisord_lite.core import events
from supervisord_lite.core.moves import Live
from supervisord_lite.core.orders import told_of_change
from supervisord_lite.core.scale import ScaledByHand, size_in_force, why_not
from supervisord_lite.core.states import Backoff, Exited, Stopped, Stopping, Tripped
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.launch import printed_name, socket_keys
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.rolls import Rolls


class HalfChangedError(BaseException):
    """A fault of ours in the middle of a change: only another supervisor has a whole again.

    Nobody who answers a client may take it for the fault of one call, so it is no `Exception`.
    Nothing of the change has been sent, and the keeper has what was in force before.
    """


@record
class Touched:
    """How many processes a plan touches.

    Attributes:
        started, restarted, stopped: Processes that are started, started anew, or stopped.
        left_alone: Processes that live and go on.
    """

    started: int
    restarted: int
    stopped: int
    left_alone: int


def change_over(fleet: Fleet, rolls: Rolls, plan: Plan, specs: Iterable[Spec]) -> None:
    """Put *specs* in force and let everything happen that *plan* says.

    Nothing is sent before the next flush, which sends all of it.

    Args:
        fleet: Changed.
        rolls: Replaces the instances of a pool a few at a time.
        plan: From the specs in force to *specs*.
        specs: With their sizes in force, in file order.
    """
    fleet.outbox.whole()
    before = fleet.specs
    new = frozenset(fleet.reconfigure(specs))
    fleet.look()
    # What was on its way out, and has its place again, counts as new, but has its state.
    back = [slot for slot in fleet.workers if slot not in new and _had_no_place(slot, before)]
    _save_specs(fleet, before)
    in_stop_order = fleet.core.graph.in_stop_order
    if any(spec.launch.sockets for spec in before.values()):
        fleet.outbox.say("sockets", socket_keys(fleet.specs.values()))
    for slot in in_stop_order(fleet.leaving):
        fleet.dismiss(slot)
    changes = {change.new.pool: change for change in plan.changed}
    replaced = [
        [slot for slot in _live(fleet, pool) if slot not in new]
        for pool, change in changes.items()
        if change.effect == "restart"
    ]
    fleet.look()
    for slot in in_stop_order(fleet.workers):
        change = changes.get(slot[0])
        if change is not None and slot not in fleet.leaving and slot not in new:
            _tell(fleet, slot, change)
    for pool in before.keys() - fleet.specs.keys():
        rolls.outdated.forget(pool)
    _bring_up(fleet, rolls, _starting(fleet, before, new, back), replaced)
    fleet.wake_all()


def _save_specs(fleet: Fleet, before: Mapping[str, Spec]) -> None:
    fleet.outbox.save("pools", json.dumps(list(fleet.specs)))
    for pool, spec in fleet.specs.items():
        if spec != before.get(pool):
            fleet.outbox.save(f"spec/{pool}", to_json(spec))
        fleet.look()


def _starting(
    fleet: Fleet, before: Mapping[str, Spec], new: Set[Slot], back: Iterable[Slot]
) -> list[Slot]:
    """Return who starts by itself because it has a place now.

    Args:
        fleet: Whose they are.
        before: The specs that were in force.
        new: Slots that were not there.
        back: Slots that were leaving, and have their place again.
    """
    wanted = [slot for slot in (*new, *back) if slot not in fleet.leaving]
    stopped = {pool for pool in before if _is_stopped_by_hand(fleet, pool, new)}
    return [
        slot for slot in wanted if slot[0] not in stopped and fleet.specs[slot[0]].policy.autostart
    ]


def _bring_up(
    fleet: Fleet, rolls: Rolls, starting: list[Slot], replaced: Iterable[list[Slot]]
) -> None:
    """Start who has a place now, and start anew who is of another program.

    Of a pool that grows, the new ones come first and the old ones serve meanwhile: those are
    replaced when these are ready, and not at all where the first new one fails.

    Args:
        fleet: Whose they are.
        rolls: Replaces the instances of a pool a few at a time.
        starting: Those who start.
        replaced: Those who are replaced, of one pool each.
    """
    # A job only waits for its time then: nobody waits for that.
    serving = [slot for slot in starting if fleet.specs[slot[0]].policy.schedule is None]
    grown: dict[str, list[Slot]] = {}
    for slot in serving:
        grown.setdefault(slot[0], []).append(slot)
    later = []
    for slots in replaced:
        rolls.outdated.mark(slots)
        if slots and slots[0][0] in grown:
            later.append(slots)
        else:
            _replace(fleet, rolls, slots)
        fleet.look()
    runs = {slot: fleet.workers[slot].run for slot in starting}
    for slot in fleet.core.to_start(starting, by_person=False):
        fleet.feed(slot, events.StartRequested(by_itself=True))
    for slots in later:
        _replace(fleet, rolls, slots, [(slot[1], runs[slot]) for slot in grown[slots[0][0]]])


def _had_no_place(slot: Slot, before: Mapping[str, Spec]) -> bool:
    spec = before.get(slot[0])
    return spec is None or slot[1] > spec.pool_size


def _tell(fleet: Fleet, slot: Slot, change: Changed) -> None:
    """Tell one instance that stays what has changed."""
    if any(key.effect == "reopen" for key in change.keys):
        fleet.reopen_logs(slot)
    if not change.is_other_program:
        return
    worker, policy = fleet.workers[slot], fleet.specs[slot[0]].policy
    is_new_run = change.effect == "restart"
    if isinstance(worker.state, Stopping) or (is_new_run and isinstance(worker.state, Live)):
        # It ends by the ladder of the old spec: the new policy comes with the next run.
        fleet.feed(slot, events.ResetRequested("changed"))
        return
    for event in told_of_change(worker, policy, is_new_run=is_new_run):
        if slot in fleet.workers:
            fleet.feed(slot, event)


def _replace(
    fleet: Fleet, rolls: Rolls, slots: list[Slot], grown: Iterable[tuple[int, int]] = ()
) -> None:
    """Start what lives of one pool anew: at once, or in a roll where not all may be away.

    Args:
        fleet: Whose they are.
        rolls: Carries on.
        slots: Those who live, of one pool.
        grown: (index, run before) of those that have just been added to it.
    """
    if not slots:
        return
    pool = slots[0][0]
    # Its places count, not those who live: some may be away already, and the roll looks at that.
    most_away = fleet.specs[pool].max_unavailable
    is_swapped = fleet.specs[pool].max_surge > 0
    if is_swapped or rolls.is_rolling(pool) or fleet.specs[pool].pool_size > most_away:
        rolls.begin(pool, [index for _, index in slots], grown=grown)
        return
    for slot in slots:
        fleet.feed(slot, events.RestartRequested())


def _is_stopped_by_hand(fleet: Fleet, pool: str, new: Set[Slot]) -> bool:
    """Return whether somebody has stopped all of a pool: then its new instances stay down too."""
    if pool not in fleet.specs:
        return False
    slots = [slot for slot in fleet.places(pool) if slot not in new]
    down = Stopped(by_hand=True)
    return bool(slots) and all(fleet.workers[slot].state == down for slot in slots)


def touched(fleet: Fleet, plan: Plan) -> Touched:
    """Return how many processes *plan* touches; ask before it is carried out."""
    started = restarted = stopped = 0
    for spec in plan.added:
        started += spec.pool_size if spec.policy.autostart else 0
    for spec in plan.removed:
        stopped += len(_live(fleet, spec.pool))
    for change in plan.changed:
        grown = max(0, change.new.pool_size - change.old.pool_size)
        is_down = _is_stopped_by_hand(fleet, change.new.pool, frozenset())
        started += grown if change.new.policy.autostart and not is_down else 0
        started += _let_go(fleet, change)
        live = _live(fleet, change.new.pool)
        staying = [slot for slot in live if slot[1] <= change.new.pool_size]
        stopped += len(live) - len(staying)
        restarted += len(staying) if change.effect == "restart" else 0
        fleet.look()
    alive = sum(len(_live(fleet, pool)) for pool in fleet.specs)
    return Touched(started, restarted, stopped, alive - restarted - stopped)


def alive_of(fleet: Fleet, plan: Plan) -> dict[str, int]:
    """Return how many processes of each changed pool run on untouched; ask before, too."""
    alive = {}
    for change in plan.changed:
        if change.effect != "restart":
            live = _live(fleet, change.new.pool)
            alive[change.new.pool] = sum(index <= change.new.pool_size for _, index in live)
    return alive


def _let_go(fleet: Fleet, change: Changed) -> int:
    """Return how many start because what they failed or finished as is another program now."""
    if not change.is_other_program:
        return 0
    kinds = Backoff | Tripped | Exited if change.effect == "restart" else Backoff | Tripped
    slots = [slot for slot in fleet.places(change.new.pool) if slot[1] <= change.new.pool_size]
    return sum(isinstance(fleet.workers[slot].state, kinds) for slot in slots)


def _live(fleet: Fleet, pool: str) -> list[Slot]:
    return [slot for slot in fleet.places(pool) if isinstance(fleet.workers[slot].state, Live)]


# -- sizes that people have set --------------------------------------------------------------------


@record
class Sized:
    """A file, and the sizes that people have set.

    Attributes:
        specs: With the sizes in force, in file order.
        by_hand: Pool -> what a person made of it and what holds on.
        dropped: Pool -> why it has no longer the size that a person set, for people.
    """

    specs: list[Spec]
    by_hand: dict[str, ScaledByHand]
    dropped: dict[str, str]


def sized(specs: Iterable[Spec], by_hand: Mapping[str, ScaledByHand]) -> Sized:
    """Return the specs with the sizes in force.

    Args:
        specs: As the file means them.
        by_hand: Pool -> what a person made of it.
    """
    found = list(specs)
    kept: dict[str, ScaledByHand] = {}
    dropped: dict[str, str] = {}
    for place, spec in enumerate(found):
        hand = by_hand.get(spec.pool)
        size = size_in_force(spec.pool_size, hand)
        if hand is None or size == spec.pool_size:
            continue
        why = cannot_have(spec, size, found)
        if why:
            dropped[spec.pool] = (
                f"{spec.pool} no longer has the {size} instances set by hand: {why}"
            )
        else:
            kept[spec.pool] = hand
            found[place] = of_size(spec, size)
    return Sized(found, kept, dropped)


def cannot_have(spec: Spec, size: int, others: Iterable[Spec]) -> str:
    """Return why a pool cannot have *size* instances, for people; empty: it can.

    Args:
        spec: The pool as it is.
        size: Instances wanted.
        others: All pools with the sizes that they have or will have; *spec* itself is left out.
    """
    if size == spec.pool_size:
        return ""
    why = why_not(size, is_singleton=spec.singleton)
    if why:
        return why
    others = [other for other in others if other.pool != spec.pool]
    in_all = size + sum(other.pool_size for other in others)
    if size > spec.pool_size and in_all > MAX_PROCESSES:
        return f"would make {in_all:,} processes in all: {MAX_PROCESSES:,} are the most"
    resized = replace(spec, pool_size=size)
    names = {printed_name(resized, index) for index in range(1, size + 1)}
    for other in others:
        if other.pool in names:
            return f"one of its instances would be called {other.pool}, as another worker is"
        clash = names.intersection(
            printed_name(other, index) for index in range(1, other.pool_size + 1)
        )
        if clash:
            return f"one of its instances would be called {min(clash)}, as another worker is"
    return ""


def of_size(spec: Spec, size: int) -> Spec:
    """Return *spec* with another size; several instances get log files of their own."""
    launch = spec.launch
    if size > 1:
        launch = replace(launch, stdout=_told_apart(launch, "stdout"))
        launch = replace(launch, stderr=_told_apart(launch, "stderr"))
    return replace(spec, pool_size=size, launch=launch)


def _told_apart(launch: Launch, stream: str) -> LogTarget:
    target: LogTarget = getattr(launch, stream)
    if target.kind != "file" or instance_text(target.path, 1) != instance_text(target.path, 2):
        return target
    stem, dot, ending = target.path.rpartition(".")
    if not dot or "/" in ending:
        stem, dot, ending = target.path, "", ""
    return LogTarget("file", f"{stem}-%i{dot}{ending}")


def settings_in_force(old: Settings, new: Settings) -> Settings:
    """Return the settings after a reload: `plan.LIVE_SETTINGS` change, others cannot."""
    live = replace(old, log_dir=new.log_dir, admin=new.admin, operate=new.operate, read=new.read)
    return replace(live, drain_s=new.drain_s, secrets=new.secrets)
