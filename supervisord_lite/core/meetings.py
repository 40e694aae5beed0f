"""Who waits for whom when two things are wanted at once, by one person or by two.

One worker's orders need no table: the last one wins (`step`), and turns among workers fall out of
the two rules of `fleet.py`. This is about what is larger than one order: a roll replaces the
instances of a pool one after the other, a reload changes many pools, a shutdown ends everything.
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
    # A second roll asks for runs that are younger than itself, so it cannot join the first. A
    # reload waits for none: a good file may be what heals a roll that goes nowhere. What it has to
    # replace in the same pool is a roll, and queues as one.
    "roll": {
        "start": "joins", "stop": "replaces", "roll": "waits",
        "reload": "now", "upgrade": "now", "shutdown": "replaces",
    },
    # A reload reads the file, and changes all that it has to change in one step: there is nothing
    # to wait for in between, except for the next reading. An upgrade lets one that is reading end,
    # because whoever asked for it is waiting.
    "reload": {
        "start": "now", "stop": "now", "roll": "now",
        "reload": "waits", "upgrade": "waits", "shutdown": "replaces",
    },
    # An upgrade takes nothing back: what is under way among workers is saved, and goes on.
    "upgrade": {
        "start": "now", "stop": "now", "roll": "now",
        "reload": "now", "upgrade": "refused", "shutdown": "replaces",
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
