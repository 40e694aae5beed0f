import subprocess
import sys

import pytest

from supervisord_lite.config.expand import instance_text, literal_text


@pytest.mark.parametrize(
    ("text", "first", "twelfth"),
    [
        ("plain", "plain", "plain"),
        ("web-%i.log", "web-1.log", "web-12.log"),
        ("%i%i", "11", "1212"),
        ("--port=%{8000..}", "--port=8000", "--port=8011"),
        ("%{00..}", "00", "11"),
        ("%{007..}", "007", "018"),
        ("%{9..}", "9", "20"),
        ("%{8000..}:%i", "8000:1", "8011:12"),
    ],
)
def test_each_instance_has_its_own_text(text: str, first: str, twelfth: str) -> None:
    """%i is the number of the instance, %{N..} counts up from N and keeps its width."""
    assert instance_text(text, 1) == first
    assert instance_text(text, 12) == twelfth


@pytest.mark.parametrize(
    "text",
    ["100%", "%", "celery@%h", "%n", "%(h)s %(process_num)02d", "%Y-%m-%d", "%%", "%%h", "%{}",
     "%{x..}", "%{1.}", "%{1..", "%{ 1..}", "%{²..}", "%{1234567890123456789..}"],
)  # fmt: skip
def test_nothing_else_is_special(text: str) -> None:
    """What celery, gunicorn and strftime mean by a per cent sign reaches them."""
    assert instance_text(text, 3) == text


@pytest.mark.parametrize(
    ("text", "literal"),
    [("%%i", "%i"), ("%%%i", "%%i"), ("%%{80..}", "%{80..}"), ("a%%ib%i", "a%ib7")],
)
def test_a_doubled_per_cent_sign_is_literal(text: str, literal: str) -> None:
    """%%i reaches the worker as %i."""
    assert instance_text(text, 7) == literal


@pytest.mark.parametrize("text", ["/srv/%i", "%%i", "%%%{8..}%i", "50%", "", "%%{1..}%%%%i"])
def test_a_literal_text_comes_out_as_it_went_in(text: str) -> None:
    """A folder whose name holds %i stays that folder."""
    assert instance_text(literal_text(text), 4) == text


@pytest.mark.slow
def test_the_daemon_loads_nothing_heavy_for_specs() -> None:
    """What the daemon imports of the configuration brings no parser and no user database."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import supervisord_lite.config.expand, supervisord_lite.config.defaults\n"
        "import supervisord_lite.config.spec\n"
        "print(*sorted({'tomllib', 'pwd', 'grp', 'shlex', 'argparse', 'logging'}"
        " & (set(sys.modules) - before)))"
    )
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout.split() == []
