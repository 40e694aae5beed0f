"""Where our own cgroup is, out of what the kernel says in many kinds of boxes."""

import os
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.keeper import cgroups
from supervisord_lite.keeper.calls import Calls
from tests.support.keeper import replace_calls

V2 = "30 25 0:26 {root} {point} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "31 25 0:27 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory"
NO_TAG = "40 25 0:26 / /mnt rw - cgroup2 none rw"


class FileCalls(Calls):
    """Two files of /proc as the test writes them, and attributes of folders."""

    def __init__(self, own: str | None, mounts: list[str], attributes: Any = None) -> None:
        texts = {"/proc/self/mountinfo": "\n".join(mounts) + "\n"}
        if own is not None:
            texts["/proc/self/cgroup"] = own
        attributes = attributes or {}
        opened: list[bytes] = []

        def open_(path: str, _flags: int) -> int:
            if path not in texts:
                raise FileNotFoundError(path)
            opened.append(texts[path].encode("utf-8", "surrogateescape"))
            return len(opened) - 1

        def read(descriptor: int, _most: int) -> bytes:
            data, opened[descriptor] = opened[descriptor], b""
            return data

        def getxattr(path: str, name: str) -> bytes:
            if (path, name) not in attributes:
                raise OSError(61, os.strerror(61))
            value: bytes = attributes[path, name]
            return value

        replace_calls(self, open=open_, read=read, getxattr=getxattr, close_once=lambda _fd: None)


def v2(point: str, root: str = "/") -> str:
    return V2.format(root=root, point=point)


@pytest.mark.parametrize(
    ("own", "mounts", "path"),
    [
        ("0::/a/b\n", [v2("/sys/fs/cgroup")], "/sys/fs/cgroup/a/b"),
        ("0::/\n", [v2("/sys/fs/cgroup")], "/sys/fs/cgroup"),
        ("4:memory:/x\n0::/a\n", [V1, v2("/sys/fs/cgroup/unified")], "/sys/fs/cgroup/unified/a"),
        ("0::/a\n", [NO_TAG], "/mnt/a"),
        ("0::/docker/1/x\n", [v2("/cg", "/docker/1")], "/cg/x"),
        ("0::/docker/1\n", [v2("/cg", "/docker/1")], "/cg"),
        ("0::/docker/12\n", [v2("/cg", "/docker/1")], None),
        ("0::/other\n", [v2("/cg", "/docker/1"), v2("/all")], "/all/other"),
        ("0::/../x\n", [v2("/cg")], None),
        ("0::/..\n", [v2("/cg")], None),
        ("0::/a\n", [V1], None),
        ("4:memory:/x\n", [v2("/cg")], None),
        ("0::/a\n", [v2("/my\\040cg")], "/my cg/a"),
        ("0::/a b\n", [v2("/cg\\134")], "/cg\\/a b"),
        (None, [v2("/cg")], None),
        ("0::/a\n", [], None),
    ],
)
def test_our_cgroup_is_found(own: str | None, mounts: list[str], path: str | None) -> None:
    """Plain, hybrid, in a container, bind-mounted, or nowhere to be reached."""
    assert cgroups._own_cgroup(FileCalls(own, mounts)) == path


@pytest.mark.parametrize(
    ("folder", "attributes", "answer"),
    [
        ("/cg/x.service", {"user.delegate": b"1"}, True),
        ("/cg/x.service", {"trusted.delegate": b"1"}, True),
        ("/cg/x.service", {"user.delegate": b"0"}, False),
        ("/cg/x.service", {}, False),
        ("/cg/session-3.scope", {"user.delegate": b"1"}, False),
    ],
)
def test_only_a_delegated_cgroup_is_ours(
    folder: str, attributes: dict[str, bytes], answer: bool
) -> None:
    """systemd says what it gave away; a session's scope is never ours."""
    calls = FileCalls(None, [], {(folder, name): value for name, value in attributes.items()})

    assert cgroups._is_delegated(calls, folder) is answer


EVENTS = "low 0\nhigh 0\nmax 57\noom 2\noom_kill {kills}\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("files", "counted"),
    [
        ({}, None),
        ({"memory.events": EVENTS.format(kills=0), "memory.max": "2147483648\n"}, None),
        ({"memory.events": "low 0\n"}, None),
        (
            {
                "memory.events": EVENTS.format(kills=3),
                "memory.peak": "2147483640\n",
                "memory.max": "2147483648\n",
            },
            (3, 2147483640, 2147483648),
        ),
        ({"memory.events": EVENTS.format(kills=1), "memory.max": "max\n"}, (1, None, None)),
        ({"memory.events": EVENTS.format(kills=1), "memory.max": "4096\n"}, (1, None, 4096)),
    ],
)
def test_what_the_kernel_counts_of_kills_for_memory(
    tmp_path: Path, files: dict[str, str], counted: tuple[int, int | None, int | None] | None
) -> None:
    """As cgroups(7) has the files; without the controller they are not there."""
    for folder in ("daemon", "run"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cgroup.procs").write_text("")
    for name, text in files.items():
        (tmp_path / "run" / name).write_text(text)
    own = cgroups.Cgroups(Calls(), str(tmp_path), str(tmp_path), move=True)
    assert own.killed_for_memory(str(tmp_path / "run")) == counted
    os.close(own._procs)
