"""The methods that change what is in force: reload, scale, and sizes that stand in the file now."""

from collections.abc import Callable
from functools import partial

from supervisord_lite.base.record import fields_of
from supervisord_lite.base.suggest import nearest
from supervisord_lite.control import interface, parameters
from supervisord_lite.control.calls import Call
from supervisord_lite.core.meetings import Doing
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.names import NoSuchWorkerError
from supervisord_lite.supervisor.reload import Done, Refusal, Reloads
from supervisord_lite.supervisor.report import refusal_report, reload_report


class ConfigurationVerbs:
    """Answers these calls; whether the peer may ask has been seen to."""

    def __init__(
        self,
        fleet: Fleet,
        reloads: Reloads,
        is_refused: Callable[[Call, str, Doing], bool],
        replies: list[Callable[[], None]],
        journal: Events,
    ) -> None:
        """Take what is changed.

        Args:
            fleet: Has the specs in force.
            reloads: Change them.
            is_refused: Answers a call that may not begin now; returns whether that was so.
            replies: Takes what is said when everything that it tells of is saved.
            journal: Takes events, and knows who asks.
        """
        self._fleet = fleet
        self._reloads = reloads
        self._is_refused = is_refused
        self._replies = replies
        self._journal = journal

    def sizes_of(self, call: Call) -> dict[str, int]:
        """Return pool -> instances, as a call has them.

        Raises:
            NoSuchWorkerError: There is no such pool in force.
            InvalidParameterError: Not that, or nothing.
        """
        sizes = parameters.numbers(call, "sizes")
        for pool in sizes:
            if pool not in self._fleet.specs:
                raise NoSuchWorkerError(pool, nearest(pool, self._fleet.specs))
        return sizes

    def reload(self, call: Call) -> None:
        """Read the file again, and answer when it is in force or refused."""
        if self._is_refused(call, "", "reload"):
            return
        is_dry = parameters.flag(call, "dry_run")
        by = self._journal.asker()
        self._reloads.ask(partial(self._reloaded, call), is_dry=is_dry, by=by)

    def _reloaded(self, call: Call, came: Done | Refusal) -> None:
        # What was applied is told when it is saved, so that it is true whatever happens then.
        if isinstance(came, Done):
            self._replies.append(partial(call.reply, reload_report(came, self._fleet.look)))
        else:
            told = refusal_report(came, self._reloads)
            self._replies.append(partial(call.error, interface.CONFIGURATION_REFUSED, told))

    def scale(self, call: Call) -> None:
        """Give pools other sizes: all of them, or none."""
        sizes = self.sizes_of(call)
        if self._is_impossible(call, sizes) or self._is_refused(call, next(iter(sizes)), "reload"):
            return
        before = {pool: self._fleet.specs[pool].pool_size for pool in sizes}
        how_many = self._reloads.sizes.scale(sizes)
        for pool, size in sizes.items():
            self._journal.note("pool.scaled", pool=pool, old=before[pool], new=size)
        hands = self._reloads.in_force.by_hand
        in_file = {pool: hand.file_size for pool, hand in hands.items()}
        pools = [
            {"pool": pool, "old": before[pool], "new": size, "file": in_file.get(pool, size)}
            for pool, size in sizes.items()
        ]
        self._replies.append(partial(call.reply, {"pools": pools, **fields_of(how_many)}))

    def _is_impossible(self, call: Call, sizes: dict[str, int]) -> bool:
        """Answer a call with a size that a pool cannot have; return whether that was so."""
        for pool, size in sizes.items():
            why = self._reloads.sizes.why_not(self._fleet.specs[pool], sizes)
            if why:
                told = {"name": f"{pool}={size}", "reason": why, "hint": None}
                call.error(interface.REFUSED, told)
                return True
        return False

    def sizes_saved(self, call: Call) -> None:
        """Take it that a client has written sizes into the file; answer when that is known."""
        file, before, after = (parameters.text(call, key) for key in ("file", "before", "after"))
        sizes = self.sizes_of(call)
        if self._is_impossible(call, sizes):
            return
        if file not in self._reloads.in_force.files:
            reason = "is no file of the configuration in force"
            told = {"name": file, "reason": reason, "hint": "supervisord-lite reload"}
            call.error(interface.REFUSED, told)
            return

        def take() -> None:
            self._reloads.sizes.saved(sizes, file, digests=(before, after))
            # Not before: whoever is told that it is done need not say it to our successor.
            self._replies.append(partial(call.reply, {}))

        self._reloads.when_read(take)
