"""Sockets in the file: what they mean, what is wrong with them, and that nothing is lost."""

from pathlib import Path

import pytest

from supervisord_lite.config.effective import render_effective
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import load
from supervisord_lite.config.spec import (
    Configuration,
    Socket,
    spec_from_json,
    to_json,
    to_short_json,
)
from supervisord_lite.supervisor.launch import socket_key, socket_keys, spawn_request

HEAD = "[worker.web]\ncommand = 'x'\n"
GOOD = """pool_size = 2
sockets.http = "127.0.0.1:8000"
sockets.all = ":%{9000..}"
sockets.six = "[::1]:7000"
sockets.unix = { listen = "unix:run/%i.sock", mode = "0600", owner = "0", group = "0", fd = 9 }
sockets.given = "systemd:web"
sockets.probe = "private"
"""


def loaded(tmp_path: Path, text: str) -> Configuration:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return load(str(path), environ={}, as_root=True)


def problems(tmp_path: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, HEAD + text)
    return caught.value.problems


def test_each_form_of_an_address_arrives(tmp_path: Path) -> None:
    """Descriptors count up from 3 in the order of the file, around those that are named."""
    (spec,) = loaded(tmp_path, HEAD + GOOD).specs
    folder = str(tmp_path).replace("%", "%%")
    assert spec.launch.sockets == (
        Socket("http", "tcp", "127.0.0.1", "8000", fd=3),
        Socket("all", "tcp", "", "%{9000..}", fd=4),
        Socket("six", "tcp", "::1", "7000", fd=5),
        Socket("unix", "unix", "", f"{folder}/run/%i.sock", mode=0o600, uid=0, gid=0, fd=9),
        Socket("given", "systemd", "", "web", fd=6),
        Socket("probe", "private", "", "", fd=7),
    )


def test_a_name_of_a_host_is_looked_up_when_the_file_is_read(tmp_path: Path) -> None:
    """The daemon makes no blocking call."""
    (spec,) = loaded(tmp_path, f'{HEAD}sockets.a = "localhost:80"\n').specs
    assert spec.launch.sockets[0].host in ("127.0.0.1", "::1")


def test_nothing_of_a_socket_is_lost(tmp_path: Path) -> None:
    """Neither in what the keeper keeps, nor in the file that is written for people."""
    configuration = loaded(tmp_path, HEAD + GOOD)
    (spec,) = configuration.specs
    assert spec_from_json(to_json(spec)) == spec
    assert spec_from_json(to_short_json(spec)) == spec
    (again,) = loaded(tmp_path, render_effective(configuration)).specs
    assert again.launch.sockets == spec.launch.sockets


def test_a_pool_shares_what_does_not_count_its_instances(tmp_path: Path) -> None:
    """By these keys the keeper knows what to hold and what to close."""
    configuration = loaded(tmp_path, HEAD + GOOD)
    (spec,) = configuration.specs
    http, everything = spec.launch.sockets[:2]
    assert socket_key("web", http, 1) == socket_key("web", http, 2) == "web/http"
    assert socket_key("web", everything, 2) == "web/all/2"
    assert len(socket_keys([spec])) == 3 + 2 * 2
    request = spawn_request(spec, 2, 1, configuration.settings)
    asked = request["sockets"]
    assert isinstance(asked, list)
    assert [each["place"] for each in asked][:2] == ["8000", "9001"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('sockets = "127.0.0.1:1"', "sockets"),
        ('sockets.a = "8000"', "expected an address"),
        ("sockets.a = 8000", "expected a text"),
        ('sockets.a = "127.0.0.1:0"', "0 is not a port"),
        ('sockets.a = "127.0.0.1:70000"', "70000 is not a port"),
        ('sockets.a = ":%{65535..}"\npool_size = 2', "65536 is not a port"),
        ('sockets.a = ":http"', "http is not a port"),
        ('sockets.a = "no.such.host.invalid:1"', "no.such.host.invalid"),
        ('sockets.a = { listen = "private", mode = "0600" }', "only a unix socket has one"),
        ("sockets.a = { fd = 0 }", "where?"),
        ('sockets.a = { listen = ":1", lissen = 3 }', 'unknown key "lissen"'),
        ('sockets.a = { listen = ":1", mode = "0600" }', "only a unix socket has one"),
        ('sockets.a = { listen = "unix:/x", mode = "999" }', "octal digits"),
        ('sockets.a = { listen = "unix:/x", owner = "nosuchuser" }', "nosuchuser"),
        ('sockets.a = { listen = ":1", backlog = 0 }', "backlog"),
        (f'sockets.a = "unix:/{"x" * 110}"', "may have 107 bytes"),
        ('sockets."a b" = ":1"', "cannot be the name of a socket"),
        ('sockets.a = { listen = ":1", fd = 5 }\nsockets.b = { listen = ":2", fd = 5 }', "same fd"),
        ('sockets.a = ":1"\nready = "fd:3"', 'descriptor 3 is that of the socket "a"'),
    ],
)
def test_a_wrong_socket_is_told(tmp_path: Path, line: str, message: str) -> None:
    """With its place, before anything is started."""
    found = problems(tmp_path, f"{line}\n")
    assert any(message in problem.message for problem in found), found
    assert all(problem.line >= 3 for problem in found)
