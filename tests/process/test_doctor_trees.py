"""`doctor` where process trees can be found by their marks only, or not even by these."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import MODULE, Daemon, clean_environment

pytestmark = [pytest.mark.process, pytest.mark.root]

_PRIVATE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")
_MOUNTS = "$(awk '$3 == \"cgroup2\" {print $2}' /proc/self/mounts)"
_READ_ONLY = f'for m in {_MOUNTS}; do mount -o remount,bind,ro "$m"; done; exec "$@"'
_NONE = f'for m in {_MOUNTS}; do umount --lazy "$m"; done; exec "$@"'
_BLIND = ("setpriv", "--bounding-set=-sys_ptrace")
_AS_NOBODY = """
[worker.a]
command = ["/bin/sleep", "1000"]
user = "nobody"
ready = "spawned"
"""


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: hides cgroups")


def test_root_without_the_right_to_look_is_told_what_to_type() -> None:
    """As in most containers: no cgroup can be made, and no CAP_SYS_PTRACE."""
    argv = (*_PRIVATE, _READ_ONLY, "sh", *_BLIND, *MODULE)
    with Daemon(_AS_NOBODY, argv=argv) as daemon:
        daemon.wait_state("a", "running")
        answer = json.loads(daemon.ctl("doctor", "--json").stdout)
    (found,) = [each for each in answer["findings"] if each["about"] == "trees"]
    assert (found["level"], found["text"].partition(" runs")[0]) == ("warning", "a")
    assert found["remedy"].startswith("docker run --cap-add SYS_PTRACE ")


def test_a_box_without_cgroup_v2_is_told_how_to_boot(tmp_path: Path) -> None:
    """Nothing else keeps trees together exactly."""
    config = tmp_path / "x.toml"
    config.write_text('[worker.a]\ncommand = "/bin/true"\n')
    words = ("doctor", "--json", "-c", str(config), "--socket", str(tmp_path / "none"))
    done = subprocess.run(
        [*_PRIVATE, _NONE, "sh", *MODULE, *words],
        capture_output=True, text=True, env=clean_environment(), check=False,
    )  # fmt: skip
    found = [each for each in json.loads(done.stdout)["findings"] if each["about"] == "delegation"]
    assert [each["text"].partition(":")[0] for each in found] == ["no cgroup v2 is mounted"]
    assert "systemd.unified_cgroup_hierarchy=1" in found[0]["remedy"]
