"""Python's collector of cyclic garbage, kept from long looks at what stays.

What the supervisor keeps of ten thousand workers are a million objects, none of which is part of a
cycle. To look through them all takes 0.2 s, and Python does that again and again while they are
made. So:

* It does not look while a configuration is taken in, and what is there behind that is not looked at
  any more (`gc.freeze`). Each of those goes as ever with the last who knows it.
* The young are looked at as ever; whoever has lived through that, between two turns and not in the
  middle of one. Where there are many workers these are not looked at either: nearly all are what is
  kept of them.

The collector is that of the whole process, so it is left alone until `take_charge`.
"""

import gc

#: With more workers than these, a look at all would take longer than a few milliseconds.
_FEW = 500
#: Looks at the young until there is one at all: as Python does it, but at a moment of ours.
_YOUNG, _LOOKS = (700, 10), 10
_NEVER = 1 << 30

_charge = {"is_ours": False}


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


def between_turns(workers: int) -> None:
    """Collect, or not, if it is time; *workers* is how many there are."""
    if _charge["is_ours"] and gc.get_count()[2] >= _LOOKS:
        if workers > _FEW:
            gc.freeze()
        else:
            gc.collect()
