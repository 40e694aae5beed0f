"""What belongs together travels together, whatever its size."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.supervisor.outbox import Outbox, Request, Slot, record_text
from supervisord_lite.wire import channel
from tests.support.supervisor import collecting, messages_of

Sent = list[dict[str, Any]]


def an_outbox() -> tuple[Outbox, Sent]:
    sent: Sent = []
    return Outbox(collecting(sent)), sent


def flush(outbox: Outbox, texts: dict[Slot, str] | None = None) -> list[Slot]:
    """Flush; return the slots of which a request was too large."""
    refused: list[Slot] = []
    outbox.flush(
        lambda slot: (texts or {}).get(slot, "record"), lambda slot, _request: refused.append(slot)
    )
    return refused


def spawn(slot: Slot, size_bytes: int = 10) -> Request:
    return {"do": "spawn", "pool": slot[0], "index": slot[1], "run": 1, "x": "x" * size_bytes}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12),
            st.lists(st.sampled_from([10, 2000, 20_000, 40_000, 59_000, 200_000]), max_size=3),
            st.sampled_from(["", '"' * 500, "\\" * 4000, "é" * 100]),
        ),
        max_size=25,
    )
)
def test_a_record_and_its_requests_are_never_apart(
    changes: list[tuple[int, list[int], str]],
) -> None:
    """Every message holds whole workers; all of them; and none is too long."""
    outbox, sent = an_outbox()
    texts: dict[Slot, str] = {}
    wanted: dict[Slot, int] = {}
    for index, sizes, text in changes:
        slot = ("web", index)
        texts[slot] = json.dumps(text)
        outbox.touch(slot)
        for size in sizes:
            outbox.request(slot, spawn(slot, size))
        wanted[slot] = wanted.get(slot, 0) + len(sizes)
    outbox.applied(7)

    refused = flush(outbox, texts)

    seen: dict[Slot, int] = {}
    for message in sent[:-1]:
        slots = {("web", int(key.split("/")[2])) for key in message["save"]}
        assert not slots & seen.keys()
        for key, text in message["save"].items():
            assert text == texts["web", int(key.split("/")[2])]
        seen.update(dict.fromkeys(slots, 0))
        for request in message["do"]:
            assert ("web", request["index"]) in slots
            seen["web", request["index"]] += 1
        assert "applied" not in message
    assert sent[-1] == {"applied": 7}
    for slot in refused:
        seen[slot] += 1
    assert seen == wanted


def test_applied_goes_with_the_last_message_only() -> None:
    """Until then a fact can be replayed."""
    outbox, sent = an_outbox()
    for index in range(10):
        outbox.request(("web", index), spawn(("web", index), 20_000))
    outbox.applied(3)
    outbox.save("daemon", "x")

    flush(outbox)

    assert len(sent) > 3
    assert [message.get("applied") for message in sent] == [None] * (len(sent) - 1) + [3]
    assert sent[-1]["save"] == {"daemon": "x"}


def test_what_must_come_first_comes_first() -> None:
    """A stop is known before the first worker is told."""
    outbox, sent = an_outbox()
    outbox.save("daemon", "early")
    outbox.request(("web", 1), spawn(("web", 1)))
    outbox.save("daemon", "stopping", first=True)

    flush(outbox)

    assert sent[0] == {"save": {"daemon": "stopping"}}
    assert all("daemon" not in message["save"] for message in sent[1:])


def test_thousands_of_first_and_last_words_go_page_by_page() -> None:
    """In their order, the first ones before all workers and "applied" with the last one."""
    outbox, sent = an_outbox()
    first = {f"roll/{number}": "é" * 40 for number in range(3000)}
    last = {f"spec/{number:0100}": None for number in range(3000)}
    for key, text in first.items():
        outbox.save(key, text, first=True)
    for key in last:
        outbox.save(key, None)
    outbox.touch(("web", 1))
    outbox.applied(2)

    flush(outbox)

    saved = [key for message in sent for key in message["save"]]
    assert saved == [*first, "worker/web/1", *last]
    assert [message.get("applied") for message in sent] == [None] * (len(sent) - 1) + [2]


def test_applied_is_said_once_and_never_goes_back() -> None:
    """A number already told, or an older one, is no message."""
    outbox, sent = an_outbox()
    outbox.applied(5)
    flush(outbox)
    outbox.applied(4)
    flush(outbox)

    assert sent == [{"applied": 5}]


def test_nothing_to_say_is_no_message() -> None:
    """A quiet turn costs nobody a wake-up."""
    outbox, sent = an_outbox()
    flush(outbox)

    assert sent == []


def test_words_are_said_with_the_end_and_once() -> None:
    """A pong comes after what this turn came to."""
    outbox, sent = an_outbox()
    outbox.say("pong", 4)
    outbox.touch(("web", 1))
    flush(outbox)
    flush(outbox)

    assert sent == [{"save": {"worker/web/1": "record"}, "do": []}, {"pong": 4}]


def test_what_a_refusal_leads_to_is_sent_as_well() -> None:
    """The worker whose command was too large has a record that says so."""
    outbox, sent = an_outbox()
    slot = ("web", 1)
    outbox.request(slot, spawn(slot, 200_000))
    texts = ["before", "after"]

    outbox.flush(lambda _slot: texts.pop(0), lambda slot, _request: outbox.touch(slot))

    assert [message["save"]["worker/web/1"] for message in sent] == ["before", "after"]
    assert [message["do"] for message in sent] == [[], []]


def test_a_request_that_is_no_json_is_refused() -> None:
    """A fault in one worker's request is no fault of the supervisor."""
    outbox, _ = an_outbox()
    slot = ("web", 1)
    outbox.request(slot, {"do": "spawn", "x": float("nan")})

    assert flush(outbox) == [slot]


@pytest.mark.parametrize("seen", [0, 17])
def test_a_record_says_how_far_it_is(seen: int) -> None:
    """The number of the last fact in it stands beside the worker."""
    assert json.loads(record_text(seen, {"a": 1})) == {"seen": seen, "worker": {"a": 1}}


@pytest.mark.parametrize("size", [10, 150_000])
def test_what_belongs_to_a_reload_is_one_message(size: int) -> None:
    """Whatever its size: whoever takes over finds all of it or nothing."""
    outbox, sent = an_outbox()
    slots = [("web", index) for index in range(1, 4)]
    for slot in slots:
        outbox.request(slot, spawn(slot, size))
    outbox.save("pools", "x" * size)
    outbox.save("spec/old", None)
    outbox.save("daemon", "first", first=True)
    outbox.applied(7)
    outbox.say("notify", "READY=1")
    outbox.whole()
    flush(outbox)

    (message,) = sent
    assert message["save"] == {
        "daemon": "first", "pools": "x" * size, "spec/old": None,
        **{f"worker/web/{index}": "record" for _, index in slots},
    }  # fmt: skip
    assert message["do"] == [spawn(slot, size) for slot in slots]
    assert (message["applied"], message["notify"]) == (7, "READY=1")

    outbox.touch(("web", 1))
    outbox.save("a", "b")
    flush(outbox)
    assert len(sent) == 3, "and the next flush goes page by page again"


def test_a_large_change_travels_in_lines_that_nobody_chokes_on() -> None:
    """One packet, so all of it arrives or nothing; and each message in it is a small one."""
    packets: list[tuple[bytes, list[dict[str, Any]]]] = []

    def send(data: bytes, descriptors: tuple[int, ...] = (), *, owned: bool = False) -> None:
        assert owned == bool(descriptors)
        packets.append((data, messages_of(data, descriptors)))

    looked: list[int] = []
    outbox = Outbox(send, look=lambda: looked.append(1), in_lines=True)
    slots = [("web", index) for index in range(1, 1001)]
    for slot in slots:
        outbox.request(slot, spawn(slot, 1000))
        outbox.save(f"spec/{slot[1]}", "y" * 1000)
    outbox.say("notify", "READY=1")
    outbox.whole()
    flush(outbox)

    ((packet, messages),) = packets
    assert packet == channel.IN_LINES
    assert all(len(channel.encode(message)) < 60_000 for message in messages)
    assert len(looked) > len(slots), "it looks up between them"
    asked = [ask["index"] for message in messages for ask in message.get("do", ())]
    assert asked == [index for _, index in slots]
    saved = [key for message in messages for key in message.get("save", ())]
    assert saved == [f"worker/web/{index}" for _, index in slots] + [
        f"spec/{index}" for _, index in slots
    ]
    assert messages[-1]["notify"] == "READY=1"
    outbox.save("pools", "[]")
    outbox.whole()
    flush(outbox)
    assert packets[1:] == [(channel.encode({"save": {"pools": "[]"}}), [{"save": {"pools": "[]"}}])]
