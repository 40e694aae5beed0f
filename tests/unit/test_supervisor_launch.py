"""From a spec to the request that starts one run."""

from typing import Any

import pytest

from supervisord_lite.config.spec import MAX_START_BYTES, Identity, Launch, Limit, LogTarget
from supervisord_lite.supervisor.launch import cgroup_limits, printed_name, spawn_request
from supervisord_lite.wire import channel
from tests.support.supervisor import SETTINGS, a_spec


def a_request(size: int = 1, index: int = 1, **launch: Any) -> dict[str, Any]:
    spec = a_spec("web", size, launch=launch)
    return channel.decode(channel.encode(spawn_request(spec, index, 7, SETTINGS)))


def test_a_pool_of_one_has_the_pools_name() -> None:
    """Larger ones are counted."""
    assert printed_name(a_spec("web"), 1) == "web"
    assert printed_name(a_spec("web", 3), 2) == "web-2"


def test_instance_texts_are_expanded_everywhere() -> None:
    """Arguments, folder, variables and log paths know their number."""
    asked = a_request(
        3, 2,
        argv=("serve", "--port=%{8000..}"), directory="/srv/%i",
        environment=(("PORT", "%{8000..}"), ("GONE", None)),
        stdout=LogTarget("file", "/log/web-%i.log"),
    )  # fmt: skip

    assert asked["argv"] == ["serve", "--port=8001"]
    assert asked["directory"] == "/srv/2"
    assert ["PORT", "8001"] in asked["environment"]
    assert ["GONE", None] in asked["environment"]
    assert asked["stdout"]["stream"]["path"] == "/log/web-2.log"
    assert asked["name"] == "web-2"
    assert (asked["pool"], asked["index"], asked["run"]) == ("web", 2, 7)


def test_our_variables_win_over_a_workers_own() -> None:
    """Who says INVOCATION_ID in the file does not escape being found."""
    asked = a_request(environment=(("INVOCATION_ID", "mine"), ("SUPERVISORD_LITE_NAME", "x")))
    environment = dict(asked["environment"])

    assert environment["INVOCATION_ID"] == asked["marker"]
    assert environment["SUPERVISORD_LITE_NAME"] == "web"
    assert environment["SUPERVISORD_LITE_POOL"] == "web"
    assert environment["SUPERVISORD_LITE_INSTANCE"] == "1"
    assert environment["SUPERVISORD_LITE_SOCKET"] == SETTINGS.control_path


def test_each_run_has_a_marker_of_its_own() -> None:
    """Two runs are never taken for one another."""
    assert len({a_request()["marker"] for _ in range(50)}) == 50
    assert len(a_request()["marker"]) == 32


def test_each_run_has_a_notification_socket_of_its_own() -> None:
    """Two runs of one instance may live at the same time, and each speaks for itself."""
    for pool in ("web", "n" * 100):
        spec = a_spec(pool, launch={"notify": True})
        first, second = (spawn_request(spec, 1, run, SETTINGS) for run in (7, 8))
        assert first["notify"] != second["notify"]
        environment = second["environment"]
        assert isinstance(environment, list)
        assert ("NOTIFY_SOCKET", f"{second['notify']}/notify") in environment


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (LogTarget("inherit"), {"to": "inherit"}),
        (LogTarget("null"), {"to": "null"}),
        (
            LogTarget("journal"),
            {
                "to": "log",
                "stream": {
                    "path": "/run/x/output/web.log",
                    "max_size": 131072,
                    "backups": 1,
                    "is_stderr": False,
                    "echo": {
                        "socket": "/run/systemd/journal/socket",
                        "fields": {"POOL": "web", "INSTANCE": "1"},
                        "prefix": True,
                    },
                },
            },
        ),
        (
            LogTarget("file", "/log/x"),
            {
                "to": "log",
                "stream": {
                    "path": "/log/x",
                    "max_size": 5,
                    "backups": 2,
                    "format": "json",
                    "max_age": None,
                    "compress": False,
                    "is_stderr": False,
                },
            },
        ),
    ],
)
def test_outputs_go_where_the_file_says(target: LogTarget, asked: dict[str, object]) -> None:
    """A file goes through the scribe, which is told how to rotate it."""
    told = a_request(stdout=target, log_max_size_bytes=5, log_backups=2, log_format="json")

    assert told["stdout"] == asked
    assert told["stderr"] == {"to": "stdout"}


def test_user_limits_and_niceness_are_passed_on() -> None:
    """As numbers: nobody looks anything up later."""
    identity = Identity(1000, 1000, (1000, 27), "deploy", "/home/deploy", "/bin/sh")
    asked = a_request(
        identity=identity, nice=5, umask=0o077,
        rlimits=(Limit("nofile", 64), Limit("core", None)),
    )  # fmt: skip

    assert asked["identity"] == {
        "uid": 1000, "gid": 1000, "groups": [1000, 27], "user": "deploy",
    }  # fmt: skip
    assert asked["rlimits"] == [["nofile", 64], ["core", None]]
    assert (asked["nice"], asked["umask"]) == (5, 0o077)
    assert a_request()["identity"] is None


def test_privileges_are_given_up_by_whoever_is_started() -> None:
    """The run, and a program that asks about it; who says nothing asks for nothing."""
    told = a_request(capabilities=("CAP_KILL",), no_new_privs=True)

    assert told["privileges"] == {"capabilities": ["CAP_KILL"], "no_new_privs": True}
    assert a_request(capabilities=())["privileges"] == {"capabilities": [], "no_new_privs": False}
    assert a_request()["privileges"] is None


def test_cgroup_limits_are_files() -> None:
    """In the kernel's own words (cgroups(7))."""
    launch = Launch(("x",), "/", memory_bytes=512 << 20, cpu_cores=1.5, pids=100)

    assert cgroup_limits(launch) == {
        "memory.max": "536870912",
        "cpu.max": "150000 100000",
        "pids.max": "100",
    }
    assert cgroup_limits(Launch(("x",), "/")) == {}


def test_the_largest_start_fits_into_a_message() -> None:
    """What `check` lets pass can be sent, beside a record with a thousand failures."""
    room_for_a_record = 20_000
    asked = a_request(
        1024, 1024, argv=("x", *["x" * 1000] * (MAX_START_BYTES // 1004)), umask=0o777, nice=-20,
        rlimits=tuple(Limit(name, 2**63 - 1) for name in ("as", "core", "data", "nofile") * 4),
        identity=Identity(1, 2, (2,), "u" * 32, "/", "/bin/sh"),
    )  # fmt: skip
    size = len(channel.encode(asked))
    assert MAX_START_BYTES < size < channel.MAX_MESSAGE_BYTES - 4096 - room_for_a_record
