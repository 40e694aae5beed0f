"""Masks and handlers by plain numbers mean what those of `signal` mean."""

import signal

from supervisord_lite.base.plain_signals import change_mask, restore_defaults


def test_a_mask_is_changed_and_put_back() -> None:
    """What is returned is the mask of before, whoever reads it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    assert change_mask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGWINCH}) == before
    try:
        during = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        undone = change_mask(signal.SIG_SETMASK, before)

    assert during == undone == before | {signal.SIGUSR1, signal.SIGWINCH}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_handlers_go_back_to_the_default() -> None:
    """Ignored ones too: a command inherits what is ignored."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN), signal.getsignal(signal.SIGWINCH)
    try:
        signal.signal(signal.SIGWINCH, lambda *_: None)
        restore_defaults((signal.SIGUSR1, signal.SIGWINCH))

        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before[0])
        signal.signal(signal.SIGWINCH, before[1])
