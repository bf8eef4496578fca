"""Subscriptions are sent in few messages a second, however many streams are requested."""

import asyncio
from typing import Any

import pytest

from onetape.websocket.sending import MOST_STREAMS, PacedSender, merge_subscriptions


def make_subscription(*streams: str, number: int = 1, verb: str = "SUBSCRIBE") -> dict[str, Any]:
    return {"method": verb, "params": list(streams), "id": number}


def test_subscriptions_are_merged_into_one_message_with_the_first_id() -> None:
    assert merge_subscriptions(
        make_subscription("a", "b"), make_subscription("c", number=2)
    ) == make_subscription("a", "b", "c")


def test_subscriptions_of_another_form_are_merged_too() -> None:
    first, second = ({"op": "subscribe", "args": [{"channel": one}]} for one in "ab")
    merged = {"op": "subscribe", "args": [{"channel": "a"}, {"channel": "b"}]}
    assert merge_subscriptions(first, second) == merged


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_subscription("a"), make_subscription("b", verb="UNSUBSCRIBE")),
        (make_subscription("a", verb="UNSUBSCRIBE"), make_subscription("b", verb="UNSUBSCRIBE")),
        (make_subscription("a"), {**make_subscription("b"), "token": "x"}),
        (make_subscription("a"), {"op": "ping"}),
        (make_subscription("a"), "ping"),
        ("ping", "ping"),
        ({"event": "subscribe", "pair": ["a"]}, {"event": "subscribe", "pair": ["b"]}),
        (make_subscription(*map(str, range(MOST_STREAMS))), make_subscription("b")),
    ],
)
def test_other_messages_are_not_merged(first: Any, second: Any) -> None:
    assert merge_subscriptions(first, second) is None


def send_at_once(messages: list[Any], fails: Any = None) -> tuple[list[Any], list[str]]:
    """Send messages at once; return the sent and the failed ones."""
    left: list[Any] = []

    async def send(message: Any) -> None:
        if message == fails:
            msg = "the socket is closed"
            raise ConnectionError(msg)
        left.append(message)

    async def scene() -> list[str]:
        sender = PacedSender(send)
        sent = await asyncio.gather(*map(sender.send, messages), return_exceptions=True)
        return [str(one) for one in sent if one is not None]

    return left, asyncio.run(scene())


def test_many_subscriptions_leave_in_few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onetape.websocket.sending.PAUSE_SECONDS", 0.0)
    streams = [f"s{number}" for number in range(450)]
    left, failed = send_at_once([make_subscription(one) for one in streams])
    assert failed == []
    assert [one for message in left for one in message["params"]] == streams
    assert len(left) == 5


def test_messages_keep_their_order_and_a_failed_one_raises_in_its_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("onetape.websocket.sending.PAUSE_SECONDS", 0.0)
    left, failed = send_at_once(["one", "two", "three"], fails="two")
    assert left == ["one", "three"]
    assert failed == ["the socket is closed"]


def test_a_message_waits_for_the_pause_after_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    class Counting:
        """The module asyncio, with pauses that are counted and not waited for."""

        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        async def sleep(self, seconds: float) -> None:
            pauses.append(seconds)

    # Only in the module: other threads of the process pause, too.
    monkeypatch.setattr("onetape.websocket.sending.asyncio", Counting())
    send_at_once(["one", "two", "three"])
    # Five a second are allowed, and one of them may be the response to a ping.
    assert len(pauses) == 2
    assert all(5 * seconds >= 1.0 for seconds in pauses)
