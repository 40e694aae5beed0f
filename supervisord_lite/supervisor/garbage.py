"""Python's collector of cyclic garbage, kept from long looks at what stays.

What the supervisor keeps of ten thousand workers are a million objects, none of which is part of a
cycle. To look through them all takes 0.2 s, and Python does that again and again while they are
made. So:

* It does not look while a configuration is taken in, and what is there behind that is not looked at
  any more (`gc.freeze`). Each of those goes as ever with the last who knows it.
* The young are looked at as ever; whoever has lived through that, between two turns and not in the
  middle of one. Where there are many workers these are looked at once, and then stay, too: nearly
  all are what is kept of them.
* What stays may become garbage later. So where it has grown by a quarter since all was looked at,
  all is looked at: 0.1 s of CPU for 700,000 objects, and the more there are the more must come
  until the next time.

The collector is that of the whole process, so it is left alone until `take_charge`.
"""

import gc

#: With more workers than these, a look at all would take longer than a few milliseconds.
_FEW = 500
#: Looks at the young until there is one at all: as Python does it, but at a moment of ours.
_YOUNG, _LOOKS = (700, 10), 10
_NEVER = 1 << 30
#: So many objects more, and a quarter of those that stay, until all are looked at: some 10 MiB.
_GROWN = 50_000

_charge = {"is_ours": False}
#: How many stayed when all were looked at, or after that if it were fewer; -1: nothing is known.
_kept = {"objects": -1}


def take_charge() -> None:
    """This process is the supervisor and nothing else: rest until all is there."""
    _charge["is_ours"] = True
    gc.set_threshold(*_YOUNG, _NEVER)
    hold()


def hold() -> None:
    """Let the collector rest: much is about to be made that stays."""
    if _charge["is_ours"]:
        gc.disable()


def settle() -> None:
    """What is there now stays; from now on the collector looks at what comes."""
    if _charge["is_ours"]:
        gc.freeze()
        gc.enable()
        _judge()


def between_turns(workers: int) -> None:
    """Collect, or not, if it is time; *workers* is how many there are."""
    if _charge["is_ours"] and gc.get_count()[2] >= _LOOKS:
        gc.collect()
        if workers > _FEW:
            gc.freeze()
        _judge()


def _judge() -> None:
    """Look at all, if what stays has grown by so much that there may be garbage in it."""
    stays = gc.get_freeze_count()
    if 0 <= _kept["objects"] < stays:
        if stays - _kept["objects"] <= _GROWN + _kept["objects"] // 4:
            return
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        stays = gc.get_freeze_count()
    _kept["objects"] = stays
