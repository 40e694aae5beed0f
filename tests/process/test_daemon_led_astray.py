"""A user whose worker a daemon of root runs leads it nowhere by what he puts into his folders."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, MethodFailedError
from tests.support.wait import wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a worker of another user"),
]

NOBODY = 65534
PRECIOUS = "precious: 7f3a9c\n"
QUICK = "ready = 'spawned'\nbackoff.min = '20ms'\nbackoff.max = '20ms'\nmax_restarts = 1000\n"

#: Swaps the folder of its own log for a link and back, while it writes more than a file holds.
SWAPS = """
cd $1
line=$(printf %0900d 0)
number=0
swap() {
    # The folder may be made again before the link is there.
    until ln -sT $2 logs 2>/dev/null; do number=$((number + 1)); mv logs real.$number; done
}
for turn in 0 1 2 3 4 5 6 7 8 9; do for again in 0 1 2 3 4 5 6 7 8 9; do
    echo $line
    swap "$@"
    echo $line
    rm logs; mv real.$number logs
done; done
swap "$@"
echo the end
touch done
exec sleep 1000
"""


@pytest.fixture
def made() -> Daemon:
    """A daemon with a folder of nobody's, and one that is nobody's business."""
    daemon = Daemon("")
    for name, uid, mode in (("theirs", NOBODY, 0o755), ("victim", 0, 0o700)):
        (daemon.folder / name).mkdir(mode=mode)
        os.chown(daemon.folder / name, uid, uid)
    return daemon


def contents(folder: Path) -> dict[str, str]:
    return {each.name: each.read_text() for each in folder.iterdir()}


def test_links_on_the_way_to_a_log_are_not_followed(made: Daemon) -> None:
    """However fast they come and go: nothing there is written, renamed, removed or shown."""
    victim = made.folder / "victim"
    for name in ("web.log", "web.log.1", "web.log.2", "web.log.3", ".web.log.marks"):
        (victim / name).write_text(PRECIOUS)
    before = contents(victim)
    (made.folder / "swaps.sh").write_text(SWAPS)
    made.write(
        "[worker.web]\ncommand = ['/bin/sh', '@DIR@/swaps.sh', '@DIR@/theirs', '@DIR@/victim']\n"
        f"user = 'nobody'\n{QUICK}log.stdout = '@DIR@/theirs/logs/web.log'\n"
        "log.max_size = '2K'\nlog.backups = 1\nlog.compress = true\n"
    )
    (made.folder / "theirs/logs").mkdir()
    os.chown(made.folder / "theirs/logs", NOBODY, NOBODY)
    with made as daemon:
        wait_until((made.folder / "theirs/done").exists, what="it has swapped them for long")
        wait_until(
            lambda: "others may change it" in str(daemon.workers()["web"]["output"]["trouble"]),
            what="it is told",
        )
        said = daemon.ctl("why", "web").stdout
        assert daemon.workers()["web"]["restarts"] == 0

    assert contents(victim) == before
    assert PRECIOUS.strip() not in said
    assert list((made.folder / "theirs").glob("real.*/web.log*")), "it was written to"


def link(path: Path, target: Path) -> None:
    """Put a link of nobody's at *path*, in place of what is there."""
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


@pytest.mark.parametrize("secrets_as", ["environment", "files"])
def test_a_secret_is_not_taken_from_elsewhere(made: Daemon, secrets_as: str) -> None:
    """What root alone may read is no secret of a user who puts a link to it into his folder."""
    token, target = made.folder / "theirs/token", made.folder / "victim/key"
    target.write_text(PRECIOUS)
    target.chmod(0o600)
    token.write_text("his own\n")
    token.chmod(0o600)
    os.chown(token, NOBODY, NOBODY)
    workers = (
        f"[worker.web]\nuser = 'nobody'\n{QUICK}secrets.T = 'file:theirs/token'\n"
        f"secrets_as = '{secrets_as}'\n"
        "command = ['/bin/sh', '-c', 'echo \"$T\"; cat $T_FILE /dev/null; exec sleep 1000']\n"
    )
    made.write(workers)
    with made as daemon:
        wait_until(lambda: "his own" in daemon.log("web"), what="it has its own")
        link(token, target)

        with pytest.raises(MethodFailedError, match="may be another file than is meant"):
            daemon.call("io.supervisordlite.Manager.Reload", dry_run=False)
        daemon.ctl("restart", "web", "--no-wait")
        wait_until(
            lambda: "is a link" in str((daemon.workers()["web"]["last_exit"] or {}).get("reason")),
            what="its start has failed",
        )
        token.unlink()
        os.link(target, token)
        wait_until(
            lambda: "another name" in str(daemon.workers()["web"]["last_exit"]["reason"]),
            what="a second name of the file is none either",
        )
        assert PRECIOUS.strip() not in daemon.log("web") + daemon.output()


def test_variables_are_not_taken_from_elsewhere(made: Daemon) -> None:
    """Nor are those of a file that nobody has led us to; the refusal shows nothing of it."""
    file, target = made.folder / "theirs/env", made.folder / "victim/env"
    target.write_text("PASSWORD=7f3a9c\nno variable: 7f3a9c\n")
    target.chmod(0o600)
    link(file, target)
    made.write(
        f"[worker.web]\nuser = 'nobody'\n{QUICK}environment_file = 'theirs/env'\n"
        "command = ['/bin/sh', '-c', 'env; exec sleep 1000']\n"
    )

    argv = [*made.argv, "check", "-c", str(made.config)]
    done = subprocess.run(
        argv, capture_output=True, text=True, env=made.environment, check=False, timeout=30
    )
    assert done.returncode == 78
    said = done.stdout + done.stderr
    assert "is a link, and others may change it" in " ".join(said.split())
    assert "7f3a9c" not in said
