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


def test_each_promise_names_a_test_that_there_is() -> None:
    """Whoever doubts a promise can run its test."""
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", part("Promises"))
    rows = [line for line in part("Promises").splitlines() if line.startswith("| ")]

    assert len(named) == len(rows) - 1
    for file, test in named:
        (path,) = (CHECKOUT / "tests").rglob(file)
        assert f"def {test}(" in path.read_text(), (file, test)


def test_whoever_comes_from_elsewhere_finds_what_there_is() -> None:
    """What stands on our side of these tables are keys; their words are known to `check`."""
    ours = {key.key for _, key in reference.every()} | {"include", "group"}
    tops = {key.partition(".")[0] for key in ours}
    theirs = {word for table in words._ORIGINS.values() for word in table}
    theirs |= ours | set(words._SETTINGS) | set(words._TABLES)
    for line in part("Coming from").splitlines():
        if not line.startswith("| ") or line.startswith("| `supervisorctl"):
            continue
        cells = line.strip("| ").split(" | ")
        for index, cell in enumerate(cells):
            for code in re.findall(r"`([a-z_]+(?:\.[a-zA-Z_]+)*)(?: = [^`]*)?`", cell):
                name = re.sub(r"\.(APP_ENV|A|x|http)$", ".NAME", code)
                known = code in theirs or name in ours or name in tops or code in verbs.HELP
                assert known or index % 2 == 0, f"{code} in: {line}"


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
