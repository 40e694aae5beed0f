"""`capabilities` and `no_new_privs` of a real daemon: in force, changed by a reload, or refused."""

import os

import pytest

from supervisord_lite.base.capabilities import NAMES
from tests.support.daemon import MODULE, Daemon
from tests.support.wait import wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root"),
]

SHOW = (
    'command = ["/bin/sh", "-c", "grep -e CapEff -e NoNew /proc/self/status; exec sleep 1000"]\n'
    'ready = "spawned"\n'
)


def shown(*names: str, no_new_privs: bool = False) -> str:
    """Return what a worker says that keeps these."""
    kept = sum(1 << NAMES.index(name) for name in names)
    return f"CapEff:\t{kept:016x}\nNoNewPrivs:\t{no_new_privs:d}\n"


def test_a_reload_replaces_whoever_keeps_others() -> None:
    """A user's shell has what it was given; a program that asks about it has no more."""
    health = 'ready = "health"\nhealth.exec = ["/bin/grep", "CapEff:.*0400", "/proc/self/status"]\n'
    bind = 'user = "nobody"\ncapabilities = ["NET_BIND_SERVICE"]\n'
    with Daemon(f"[worker.web]\n{bind}{SHOW.replace('ready', '# ready')}{health}") as daemon:
        first = daemon.wait_state("web", "running")
        assert daemon.log("web") == shown("CAP_NET_BIND_SERVICE")
        daemon.write(f'[worker.web]\nuser = "nobody"\nno_new_privs = true\n{SHOW}')
        dry = daemon.ctl("reload", "--dry-run", check=True).stdout
        assert 'capabilities ["CAP_NET_BIND_SERVICE"] -> unset' in " ".join(dry.split())
        daemon.ctl("reload", check=True)
        both = shown("CAP_NET_BIND_SERVICE") + shown(no_new_privs=True)
        wait_until(lambda: daemon.log("web") == both, what="it has been replaced")
        assert daemon.workers()["web"]["pid"] != first["pid"]


def test_what_the_daemon_cannot_give_or_take_is_told_at_once() -> None:
    """No retry heals it; whom nothing has to be taken from starts all the same."""
    poor = ("setpriv", "--bounding-set=-sys_time,-setpcap", *MODULE)
    workers = (
        f'[worker.clock]\ncapabilities = ["SYS_TIME"]\n{SHOW}'
        f"[worker.root]\ncapabilities = []\n{SHOW}"
        f'[worker.user]\nuser = "nobody"\ncapabilities = ["KILL"]\n{SHOW}'
    )
    with Daemon(workers, argv=poor) as daemon:
        for name, reason in (
            ("clock", "the daemon does not have CAP_SYS_TIME itself"),
            ("root", "the daemon lacks CAP_SETPCAP"),
        ):
            daemon.wait_state(name, "tripped")
            why = " ".join(daemon.ctl("why", name, check=True).stdout.split())
            assert f"(capabilities): {reason}" in why
        wait_until(lambda: daemon.log("user") == shown("CAP_KILL"), what="it has these")
