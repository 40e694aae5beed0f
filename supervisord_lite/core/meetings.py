"""Who waits for whom when two things are wanted at once, by one person or by two.

One worker's orders need no table: the last one wins (`step`), and turns among workers fall out of
the two rules of `fleet.py`. This is about what is larger than one order: a roll replaces the
instances of a pool one after the other, a reload changes many pools, an upgrade replaces the
supervisor, a shutdown ends everything.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

#: What may be under way. "start", "stop" and "roll" of the same worker or pool; the rest of the
#: whole daemon. `restart` of a pool is a roll; of one instance a roll of one.
Doing = Literal["start", "stop", "roll", "reload", "upgrade", "shutdown"]

#: What becomes of the newcomer.
#: "now": it begins, and what is under way goes on beside it.
#: "joins": what is under way brings what it wants; it waits for the same end.
#: "replaces": what is under way ends where it is; whoever waits for it is told so.
#: "waits": it begins when what is under way has ended.
#: "refused": it is told why.
Rule = Literal["now", "joins", "replaces", "waits", "refused"]

#: Under way -> asked for -> what becomes of it.
MEETINGS: Mapping[Doing, Mapping[Doing, Rule]] = {
    "start": {
        "start": "joins", "stop": "replaces", "roll": "replaces",
        "reload": "now", "upgrade": "now", "shutdown": "replaces",
    },
    "stop": {
        "start": "replaces", "stop": "joins", "roll": "replaces",
        "reload": "now", "upgrade": "now", "shutdown": "replaces",
    },
    # A second roll asks for runs that are younger than itself, so it cannot join the first.
    "roll": {
        "start": "joins", "stop": "replaces", "roll": "waits",
        "reload": "waits", "upgrade": "waits", "shutdown": "replaces",
    },
    # A person's order for one worker is not kept waiting by a reload of a hundred.
    "reload": {
        "start": "now", "stop": "replaces", "roll": "waits",
        "reload": "waits", "upgrade": "waits", "shutdown": "replaces",
    },
    # Orders are saved with their first step, and go on under the next supervisor. A reload would
    # be judged by one version and applied by another.
    "upgrade": {
        "start": "now", "stop": "now", "roll": "waits",
        "reload": "waits", "upgrade": "joins", "shutdown": "replaces",
    },
    # Nothing undoes a shutdown. A second signal makes it one at once.
    "shutdown": {
        "start": "refused", "stop": "joins", "roll": "refused",
        "reload": "refused", "upgrade": "refused", "shutdown": "joins",
    },
}  # fmt: skip

#: What wins when several things are under way.
_STRENGTH: tuple[Rule, ...] = ("refused", "replaces", "waits", "joins", "now")


def rule_for(asked: Doing, under_way: Iterable[Doing]) -> Rule:
    """Return what becomes of *asked* while all of *under_way* goes on.

    "replaces" beats "waits": it ends what it would have to wait for. "stop" and "replaces" concern
    only the workers that both are about: a stop of `web` takes `web` out of a reload, no more.
    """
    rules = {MEETINGS[doing][asked] for doing in under_way}
    return next((rule for rule in _STRENGTH if rule in rules), "now")
