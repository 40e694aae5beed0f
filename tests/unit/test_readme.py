"""What README and the shipped configuration say of the code is true."""

import re
from pathlib import Path

import pytest

from supervisord_lite.cli import verbs
from supervisord_lite.config import reference, words
from tests.support import readme

CHECKOUT = Path(__file__).parents[2]
TEXT = readme.README.read_text()


def part(heading: str) -> str:
    """Return the text below a heading of the second level."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


@pytest.mark.parametrize("path", [readme.README, readme.REFERENCE], ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_up_to_date(path: Path) -> None:
    """Tables of keys, exit codes and states, and the file with every key, are those of the code."""
    text = path.read_text()
    now = readme.shipped() if path == readme.REFERENCE else readme.readme(text)
    assert text == now, f"type: {readme.COMMAND}"


def test_every_block_that_can_be_made_is_there_once() -> None:
    """No table of keys is missing in README."""
    names = [f"keys-{group.name}" for group in reference.GROUPS]
    assert sorted(readme.blocks_of(TEXT)) == sorted([*names, "exit-codes", "states", "diagram"])


def test_the_tour_begins_after_two_screens() -> None:
    """Who comes for the first time need not look for it."""
    assert TEXT[: TEXT.index("\n## The tour\n")].count("\n") <= 72


def test_each_promise_names_a_test_that_there_is() -> None:
    """Whoever doubts a promise can run its test."""
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", part("Promises"))
    rows = [line for line in part("Promises").splitlines() if line.startswith("| ")]

    assert len(named) == len(rows) - 1
    for file, test in named:
        (path,) = (CHECKOUT / "tests").rglob(file)
        assert f"def {test}(" in path.read_text(), (file, test)


#: Of each program: what `check` knows of it, and words of its own that are no keys.
ELSEWHERE = {
    "From supervisord": (words._SUPERVISORD, {"environment", "files", "include"}),
    "From unit files": (words._SYSTEMD, set[str]()),
    "From circus": (words._CIRCUS, set[str]()),
    "From pm2": (words._PM2, {"apps", "args", "env", "interpreter", "max_restarts"}),
}


@pytest.mark.parametrize("heading", ELSEWHERE)
def test_whoever_comes_from_elsewhere_finds_what_there_is(heading: str) -> None:
    """Their words are known to `check`, which translates them; ours are keys."""
    known, others = ELSEWHERE[heading]
    ours = {key.key for _, key in reference.every()}
    ours |= {key.partition(".")[0] for key in ours} | set(verbs.HELP)
    text = part("Coming from")
    text = text[text.index(f"### {heading}") :].partition("\n### ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 10
    for left, right in rows:
        for word in re.findall(r"`([A-Za-z_]+)(?:=[^ `]*)?`", left):
            # What is called like a key of ours is taken for that.
            assert word.lower() in {*known, *others, *ours}, f"{word}: {left}"
        for code in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)*)(?: = [^`]*)?`", right):
            name = re.sub(r"\.A$", ".NAME", code)
            assert name in ours or code == "install-unit", f"{code}: {right}"


def test_every_anchor_leads_somewhere() -> None:
    """Links within README meet a heading, links to files a file."""
    text = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", words.lower()).replace(" ", "-") for words in headings}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (CHECKOUT / target).exists(), target
