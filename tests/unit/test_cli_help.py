"""`help`: README for a terminal, the keys, and the verbs."""

import os
import pty
import subprocess
import sys

import pytest

from supervisord_lite.cli import main, manual, verbs
from supervisord_lite.cli.help import told_of
from supervisord_lite.cli.topics import ALIASES, OF_VERBS, TOPICS, Topic
from supervisord_lite.config import reference


def test_every_section_of_the_readme_is_a_topic() -> None:
    """Nothing that stands in README is out of reach of `help`."""
    text = manual.read_manual()
    found = [words for level, words in manual.headings(text) if level == 2]
    below = manual.section(text, "Configuration") or ""
    found += [words for level, words in manual.headings(below) if level == 3]

    assert sorted(set(found) - {"Two commands"}) == sorted(topic.heading for topic in TOPICS)
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_section_is_readable_on_a_terminal(topic: Topic) -> None:
    """80 columns but for code and words that nobody should break; no marks of markdown."""
    found = manual.section(manual.read_manual(), topic.heading)
    assert found is not None
    for line in manual.plain(found).replace("`***`", "").splitlines():
        is_code = line.startswith("    ")
        assert len(line) <= 80 or is_code or " " not in line.strip(" -"), line
        assert is_code or not any(mark in line for mark in ("](", "**", "\0")), line
        assert is_code or not line.startswith(("```", "|", "<!--", "#")), line


def test_markdown_becomes_text() -> None:
    """Emphasis and links lose their marks, code keeps its own."""
    text = manual.plain(
        "## Jobs\n<!-- x -->\nA **bold** and *soft* [name](#jobs), `a * b * c`, "
        "[far](https://example.org/x).\n\n- **One.** Two **`x`**\n  [`y`](z).\n- Four\n\n"
        "```sh\ncode  **as is**\n```\n"
    )
    assert text == (
        "Jobs\n====\n\n"
        "A bold and soft name, `a * b * c`, far (https://example.org/x).\n\n"
        "- One. Two `x` `y`.\n- Four\n\n"
        "    code  **as is**\n"
    )


def test_a_table_keeps_its_columns_where_they_fit() -> None:
    """The last column wraps; where there is no room for it, each row is a paragraph."""
    narrow = manual.plain(f"| a | b |\n|---|---|\n| `x` | {'word ' * 20}|\n| yy | z |\n")
    assert narrow.splitlines()[:3] == ["a   b", f"--  {'-' * 76}", f"x   {'word ' * 14}word"]
    assert narrow.splitlines()[3:] == ["    word word word word word", "yy  z"]

    wide = manual.plain(f"| a | b | c |\n|---|---|---|\n| {'x' * 40} | {'y' * 30} | some words |\n")
    assert wide == f"{'x' * 40}\n    b: {'y' * 30}\n    c: some words\n"

    told = manual.plain(f"| a | b | |\n|---|---|---|\n| {'x' * 40} | {'y' * 30} | some words |\n")
    assert told == f"{'x' * 40}\n    some words\n    b: {'y' * 30}\n"


def test_what_help_prints_of_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """What it is for, its kind, default, table, and what a reload does with it."""
    assert main(["help", "stop_scope"]) == 0

    assert capsys.readouterr().out == (
        "stop_scope\n"
        "  who gets the signals: the first process, or all of its tree.\n"
        '  value    "leader" or "tree"\n'
        '  default  "leader"\n'
        '  example  stop_scope = "leader"\n'
        "  in       [worker.NAME] and [defaults]\n"
        "  reload   live: another value holds at once\n"
        "  see      supervisord-lite help stopping\n"
    )


def test_everything_that_is_listed_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Topics, verbs and keys: none of them is an error, none is too wide."""
    assert main(["help"]) == 0
    listed = capsys.readouterr().out
    for topic in TOPICS:
        assert f"  {topic.name} " in listed
        assert topic.heading in told_of(topic.name)
    for _, key in reference.every():
        told = told_of(key.key)
        assert key.key in told
    for verb in verbs.HELP:
        assert f"usage: supervisord-lite {verb}" in told_of(verb)
    sections = {topic.name: topic.heading for topic in TOPICS}
    for word, name in ALIASES.items():
        assert f"{sections[name]}\n" in told_of(word), word
    assert OF_VERBS.keys() <= verbs.HELP.keys()
    assert set(OF_VERBS.values()) <= {topic.name for topic in TOPICS}


def test_a_word_that_is_several_things_is_told_as_all_of_them() -> None:
    """`restart` is a verb and a key; the verb comes first."""
    told = told_of("restart")
    assert told.index("usage: supervisord-lite restart") < told.index("\nrestart\n  after which")


@pytest.mark.parametrize(
    ("word", "near"),
    [("sockts", "sockets"), ("stop_timout", "stop_timeout"), ("configuraton", "configuration")],
)
def test_an_unknown_topic_is_told_with_the_nearest(
    word: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, and what was probably meant."""
    assert main(["help", word]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    told = " ".join(captured.err.split())
    assert f'there is no topic "{word}"; did you mean {near}?' in told
    assert "supervisord-lite help lists the topics" in captured.err


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("stopwaitsecs", 'supervisord\'s stopwaitsecs is stop_timeout = "…" here'),
        ("ExecStart", 'systemd\'s ExecStart is command = "…" here'),
        ("warm", '"warm" is not in this version'),
    ],
)
def test_a_word_of_another_program_or_version_is_told_apart(
    word: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asks for supervisord's key learns what it is called here."""
    assert main(["help", word]) == 2

    assert answer in " ".join(capsys.readouterr().err.split())


def test_a_terminal_gets_a_pager_for_what_is_long() -> None:
    """Through $PAGER on a terminal, and through nothing else."""
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "supervisord_lite", "help", "jobs"]
    environment = os.environ | {"PAGER": "sed s/^/paged:/", "LINES": "24", "COLUMNS": "80"}
    with subprocess.Popen(words, stdout=follower, env=environment) as process:
        os.close(follower)
        seen = b""
        try:
            while chunk := os.read(leader, 65536):
                seen += chunk
        except OSError:  # the terminal's other end is closed
            pass
        assert process.wait(timeout=30) == 0
    os.close(leader)
    lines = seen.decode().split("\r\n")
    assert lines[0] == "paged:Jobs"
    assert all(line.startswith("paged:") for line in lines if line)
