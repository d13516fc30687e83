"""What is tried again, for how long, and what is told at once."""

from __future__ import annotations

import httpx
import pytest
from sayso_client import Invalid, Problem, Sayso, Unreachable
from sayso_client.exchange import FIRST_PAUSE, LONGEST_PAUSE, Pause, Send, exchange

SEND = Send(method="GET", path="/requests/1/outcome")
OK = httpx.Response(200, json={"status": "approved"})
AWAY = httpx.Response(503)
LOST = httpx.ConnectError("refused")


def steps_of(*replies: httpx.Response | httpx.TransportError) -> list[float]:
    """The pauses of a call that gets these replies, the last of which ends it."""
    call, pauses = exchange(SEND, None), []
    assert next(call) is SEND
    for reply in replies[:-1]:
        step = call.send(reply)
        assert isinstance(step, Pause)
        pauses.append(step.seconds)
        assert call.send(None) is SEND
    with pytest.raises(StopIteration) as ended:
        call.send(replies[-1])
    assert ended.value.value is replies[-1]
    return pauses


def test_a_server_that_is_away_is_tried_again_in_growing_pauses() -> None:
    pauses = steps_of(LOST, AWAY, httpx.ReadTimeout(""), httpx.Response(502), *[LOST] * 8, OK)
    assert len(pauses) == 12
    assert FIRST_PAUSE / 2 <= pauses[0] <= FIRST_PAUSE
    assert pauses[0] < pauses[3] < pauses[-1] <= LONGEST_PAUSE


def test_it_waits_as_long_as_the_server_says() -> None:
    limited = httpx.Response(429, headers={"Retry-After": "7"})
    assert steps_of(limited, OK) == [7.0]
    assert steps_of(httpx.Response(503, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), OK)[0] < 1


def test_it_gives_up_after_the_time_it_was_given() -> None:
    call = exchange(SEND, 0.0)
    next(call)
    with pytest.raises(Unreachable, match="can't be reached: refused"):
        call.send(LOST)
    call = exchange(SEND, 0.0)
    next(call)
    with pytest.raises(Unreachable, match="answers 503"):
        call.send(AWAY)


def refused(status: int, problem: object) -> httpx.Response:
    return httpx.Response(
        status, json=problem, request=httpx.Request("GET", "http://sayso.test/api/v1/requests")
    )


def test_a_refusal_is_told_at_once_with_its_fields() -> None:
    errors = [{"field": "title", "message": "title is required."}]
    call = exchange(SEND, None)
    next(call)
    with pytest.raises(Invalid) as raised:
        call.send(refused(422, {"code": "invalid", "detail": "title is required.", "errors": errors}))
    assert raised.value.errors == errors
    assert raised.value.status == 422


@pytest.mark.parametrize(
    ("status", "problem", "code"),
    [
        (429, {"code": "quota_exceeded", "detail": ""}, "quota_exceeded"),
        (500, {"code": "internal"}, "internal"),
    ],
)
def test_what_trying_again_does_not_help_is_told_at_once(status: int, problem: object, code: str) -> None:
    call = exchange(SEND, None)
    next(call)
    with pytest.raises(Problem) as raised:
        call.send(refused(status, problem))
    assert raised.value.code == code


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "no"}'])
def test_what_is_no_sayso_server_is_said(body: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, content=body)

    sayso = Sayso("http://elsewhere.test", "t", http=httpx.Client(transport=httpx.MockTransport(answer)))
    with pytest.raises(Problem, match="answers 404: is it a Sayso server"):
        sayso.get("1")
