"""Who may do what: the lists of [control], `operators` of a worker, root and the daemon's user.

::

    read      Status, States, Watch, Events, Why,        the lists read, operate, admin;
              LogFiles, Version                          operators of any worker
    operate   Start, Stop, Restart, Reset, Signal,       operate, admin;
              Scale, SizesSaved                          operators, of their own workers alone
    admin     everything                                 admin
    (owner)   Upgrade to another installation            root and the daemon's user alone: to have
                                                         it run other code is to be that user

A peer is who the kernel says it was when it connected; what it may is asked anew at each call, so
that other lists hold from their reload on. Whatever is in doubt is a no: a method that stands in no
table is for admins, and a number that may stand for anybody (no number at all, or the one that
shows for all who have none in our user namespace) is nobody's in particular.
"""

from __future__ import annotations

from itertools import islice
from operator import is_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from supervisord_lite.config.spec import Grant, Settings, Spec
    from supervisord_lite.control.calls import Peer
    from supervisord_lite.supervisor.fleet import Fleet

#: Ranks: who may more has a higher one, and goes first where there is no place for all.
NOTHING, READ, SOME, OPERATE, ADMIN = range(5)

_NEEDED = {
    **dict.fromkeys(
        ("Status", "States", "Watch", "Wait", "Events", "Why", "LogFiles", "Version"), READ
    ),
    **dict.fromkeys(
        ("Start", "Stop", "Restart", "Reset", "Signal", "Scale", "SizesSaved"), OPERATE
    ),
}
#: The kernel's "no user".
_NO_ID = 2**32 - 1
#: Pools that are named to whom something else is denied.
_MOST_NAMED = 20


class NotPermittedError(Exception):
    """A peer may not do that.

    Attributes:
        pool: Of which worker it may not; None: of none.
        allowed: Who may, as people write them.
    """

    def __init__(self, pool: str | None, allowed: list[str]) -> None:
        """Take the worker and who may."""
        super().__init__(pool)
        self.pool = pool
        self.allowed = allowed


class Rights:
    """The lists in force."""

    def __init__(self, fleet: Fleet, own_uid: int) -> None:
        """Read the lists from the settings and specs of *fleet*, whenever one is needed.

        Args:
            fleet: Has them.
            own_uid: Of the daemon, who may everything.
        """
        self._fleet = fleet
        self._own_uid = own_uid
        self._no_uid = unmapped_id("uid")
        self._no_gid = unmapped_id("gid")
        self._known: tuple[Settings, dict[str, Spec]] | None = None

    def have_changed(self) -> bool:
        """Return whether other lists may be in force than when this was asked last."""
        known, self._known = self._known, (self._fleet.settings, self._fleet.specs)
        return known is None or not all(map(is_, known, self._known))

    def rank(self, peer: Peer) -> int:
        """Return what *peer* may do at most; `NOTHING`: not even ask."""
        if peer.uid in (0, self._own_uid):
            return ADMIN
        if not 0 < peer.uid < _NO_ID:
            return NOTHING
        settings = self._fleet.settings
        if self._names(settings.admin, peer):
            return ADMIN
        if self._names(settings.operate, peer):
            return OPERATE
        operators = (g for spec in self._fleet.specs.values() for g in spec.operators)
        if self._names(operators, peer):
            return SOME
        return READ if self._names(settings.read, peer) else NOTHING

    def check(self, peer: Peer, method: str, pools: Callable[[], Iterable[str]]) -> None:
        """See to it that *peer* may call a method.

        Args:
            peer: Who asks.
            method: Its bare name.
            pools: Returns those on which it acts; asked only where that decides. None at all is
                a no.

        Raises:
            NotPermittedError: It may not, or not of each of them.
        """
        rank, needed = self.rank(peer), _NEEDED.get(method, ADMIN)
        if rank >= needed:
            return
        if needed == OPERATE and rank >= READ:
            named = list(pools())
            # Whoever acts on nothing in particular may act on everything, or means no good.
            if not named:
                raise NotPermittedError(
                    None, self._allowed([self._fleet.settings.admin, self._fleet.settings.operate])
                )
            self.check_pools(peer, named)
            return
        settings = self._fleet.settings
        lists = [settings.admin]
        lists += [settings.operate] * (needed <= OPERATE) + [settings.read] * (needed <= READ)
        raise NotPermittedError(None, self._allowed(lists))

    def check_pools(self, peer: Peer, pools: Iterable[str]) -> None:
        """See to it that *peer* may operate each of *pools*.

        Raises:
            NotPermittedError: Not the one that it names.
        """
        if self.rank(peer) >= OPERATE:
            return
        settings = self._fleet.settings
        for pool in pools:
            # One that is leaving has no spec in force, and so no operators.
            spec = self._fleet.specs.get(pool)
            operators = () if spec is None else spec.operators
            if not self._names(operators, peer):
                lists = [settings.admin, settings.operate, operators]
                raise NotPermittedError(pool, self._allowed(lists))

    def check_owner(self, peer: Peer) -> None:
        """See to it that *peer* is root, or the daemon's own user.

        Raises:
            NotPermittedError: It is neither.
        """
        if peer.uid not in (0, self._own_uid):
            raise NotPermittedError(None, self._allowed([]))

    def operates(self, peer: Peer) -> list[str]:
        """Return the first pools that *peer* may operate, where it may not operate all."""
        mine = (
            pool for pool, spec in self._fleet.specs.items() if self._names(spec.operators, peer)
        )
        return list(islice(mine, _MOST_NAMED))

    def _allowed(self, lists: Iterable[Iterable[Grant]]) -> list[str]:
        ours = ["root"] + ["the daemon's own user"] * (self._own_uid != 0)
        return list(dict.fromkeys([*ours, *(grant.name for each in lists for grant in each)]))

    def _names(self, grants: Iterable[Grant], peer: Peer) -> bool:
        """Return whether one of *grants* means *peer*."""
        return any(self._means(grant, peer) for grant in grants)

    def _means(self, grant: Grant, peer: Peer) -> bool:
        if grant.uid is not None:
            return grant.uid == peer.uid != self._no_uid
        if grant.gid is not None:
            return grant.gid != self._no_gid and grant.gid in (peer.gid, *peer.groups)
        return grant.name == "*"


def unmapped_id(kind: str, root: str = "/proc") -> int | None:
    """Return the number that shows for all who have none in our user namespace.

    Source: user_namespaces(7), "Unmapped user and group IDs".

    Args:
        kind: "uid" or "gid".
        root: Where procfs is; tests have another one.

    Returns:
        None where everybody has a number of their own.
    """
    try:
        with open(f"{root}/self/{kind}_map", encoding="ascii") as file:  # noqa: PTH123
            if file.read().split() == ["0", "0", str(_NO_ID)]:
                return None
        with open(f"{root}/sys/kernel/overflow{kind}", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read())
    except (OSError, ValueError):
        return 65534
