"""`capabilities` and `no_new_privs` as they are read, written and saved."""

from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.config.effective import render_effective
from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import load
from supervisord_lite.config.spec import Launch, spec_from_json, to_json

Read = Callable[[str], Launch]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that gives the launch of a worker with these keys."""

    def read_lines(lines: str) -> Launch:
        path = tmp_path / "workers.toml"
        path.write_text(f'[worker.a]\ncommand = ["x"]\n{lines}\n')
        configuration = load(str(path), environ={}, as_root=True)
        again = tmp_path / "again.toml"
        again.write_text(render_effective(configuration))
        (spec,), (reread,) = configuration.specs, load(str(again), environ={}, as_root=True).specs
        assert reread.launch == spec.launch == spec_from_json(to_json(spec)).launch
        return spec.launch

    return read_lines


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("", None),
        ("capabilities = []", ()),
        ('capabilities = "NET_BIND_SERVICE"', ("CAP_NET_BIND_SERVICE",)),
        ('capabilities = ["NET_RAW", "CAP_KILL", "CAP_NET_RAW"]', ("CAP_KILL", "CAP_NET_RAW")),
    ],
)
def test_names_are_read_as_the_kernel_has_them(
    read: Read, lines: str, kept: tuple[str, ...] | None
) -> None:
    """With or without CAP_, each once, in one order; none at all is not the same as no word."""
    assert read(lines).capabilities == kept


def test_what_is_no_capability_is_told_with_its_place(read: Read) -> None:
    """Every mistake, with the nearest name."""
    with pytest.raises(ConfigurationError) as caught:
        read('capabilities = ["CAP_KILL", "cap_net_bind", 7]\nno_new_privs = "yes"')
    told = [(p.line, p.column, p.message, p.hint) for p in caught.value.problems]
    assert told[0] == (
        3, 29, '"cap_net_bind" is not a capability', 'did you mean "CAP_NET_BIND_SERVICE"?',
    )  # fmt: skip
    assert [place[:2] for place in told[1:]] == [(3, 45), (4, 16)]
