"""Consumers of live connections: they receive, limit and carry out messages; hubs send what is shown.

Nothing here waits inside the loop that receives: a decision is a task, eight at a time at most, and what a
client has sent is carried out even if it leaves before the answer. Credential and user are looked up before
each act; the writer checks permission. What a client does wrong costs its own connection only. A frame counts
twice: for its connection, and for its user, whose requests anywhere share one allowance.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

from channels.consumer import AsyncConsumer
from django.db import Error as DatabaseError

from approvals import deciding, queries
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, Channel
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import (
    ApprovalError,
    Busy,
    NotPermitted,
    RateLimited,
    Unavailable,
    UnknownRequest,
)
from approvals.process import telemetry
from approvals.web.edge import tokens
from approvals.web.edge.actors import actor_of_scope
from approvals.web.edge.asgi import Receive, Scope, Send
from approvals.web.edge.credentials import Credential, owners, secret_of
from approvals.web.edge.fair_shares import act_turn
from approvals.web.edge.limits import Allowance, of_users
from approvals.web.edge.problems import Unauthenticated
from approvals.web.edge.tokens import Bearer
from approvals.web.edge.tokens import Scope as TokenScope
from approvals.web.live import protocol
from approvals.web.live.hubs import UNAUTHENTICATED, Hub, S, Seat
from approvals.web.live.inbox import InboxSeat, inbox_hub
from approvals.web.live.protocol import Answer, Decide, Malformed, Ref, encode, outcome_in_frame
from approvals.web.live.send_queue import FAILED, Outbox

logger = logging.getLogger(__name__)

ACTS_AT_ONCE = 8
# Of all connections together, since the database has few threads.
ACTS_OF_ALL = 1000

# A frame costs one, and one more for each 64 KiB.
FRAMES_AT_ONCE, FRAMES_A_SECOND = 50, 10.0
COSTLY_CHARACTERS = 65_536
# Malformed messages are answered, up to ten a minute; then the connection is closed.
FAULTS_A_MINUTE = 10
# So are frames beyond the allowance, up to twenty.
REFUSALS_A_MINUTE = 20

MALFORMED = 4400
NOT_PERMITTED = 4403
FLOODING = 4429
TRY_AGAIN_LATER = 1013

AWAY = "The database does not answer."


class LiveConsumer(AsyncConsumer):  # type: ignore[misc]  # channels has no types
    """A person's connection.

    `__call__` replaces that of channels, which takes a channel of the layer for each connection, and for each
    message a turn on the thread that all connections share. Hubs need neither.
    """

    acting: ClassVar[int] = 0
    """How many acts are under way in this process, of all connections."""

    def __init__(self) -> None:
        self._acting = 0
        self._seats: list[tuple[Hub[Any], Seat]] = []
        self._frames = Allowance(burst=FRAMES_AT_ONCE, rate=FRAMES_A_SECOND)
        self._refusals = Allowance(burst=REFUSALS_A_MINUTE, rate=REFUSALS_A_MINUTE / 60)
        self._faults = Allowance(burst=FAULTS_A_MINUTE, rate=FAULTS_A_MINUTE / 60)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.outbox = Outbox(send)
        telemetry.sockets.inc()
        async with asyncio.TaskGroup() as self._acts:
            try:
                await self._converse(receive)
            finally:
                for hub, seat in self._seats:
                    hub.leave(seat)
                self.outbox.discard()
                telemetry.sockets.dec()

    def join(self, credential: Credential) -> None:
        """Take seats in the hubs that show something here."""
        raise NotImplementedError

    def take_seat(self, hub: Hub[S], seat: S) -> None:
        """Take a seat, until the client has left."""
        self._seats.append((hub, seat))
        hub.join(seat)

    async def _converse(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message["type"] == "websocket.connect":
                # Any client is accepted: browsers learn the code of a close only after that.
                self.outbox.accept()
                self.enter()
            elif not self.outbox.closing:
                self._listen(message.get("text"))

    def enter(self) -> None:
        """Join the hub with the connection's session or token; close the connection if it has none."""
        if key := self.scope["session"].session_key:
            self.join(key)
        else:
            self.outbox.close(UNAUTHENTICATED)

    def _listen(self, frame: str | None) -> None:
        if not self._frames.take(1 + len(frame or "") // COSTLY_CHARACTERS) or self._user_exceeds_limit():
            self._refuse_flood()
            return
        try:
            ref, message = protocol.read(frame)
        except Malformed as error:
            self._refuse_malformed(error)
        else:
            self._handle(ref, message)

    def _handle(self, ref: Ref, message: protocol.ClientMessage) -> None:
        if isinstance(message, protocol.Ping):
            self.outbox.answer(encode(protocol.Pong(), ref))
        elif isinstance(message, protocol.Look):
            self._look(ref, message)
        elif self._acting >= ACTS_AT_ONCE:
            busy = Busy(f"{ACTS_AT_ONCE} decisions of this connection are under way; wait for an answer.")
            self.refuse(busy, ref)
        elif LiveConsumer.acting >= ACTS_OF_ALL:
            self.refuse(Busy("Too many decisions are under way; try again in a moment."), ref)
        else:
            self._acting += 1
            LiveConsumer.acting += 1
            self._acts.create_task(self._act(ref, message))

    def _look(self, ref: Ref, message: protocol.Look) -> None:
        try:
            request_id = None if message.request_id is None else queries.as_id(message.request_id)
        except UnknownRequest as error:
            self.refuse(error, ref)
            return
        for _, seat in self._seats:
            if isinstance(seat, InboxSeat):
                inbox_hub().look_at(seat, request_id)

    async def _act(self, ref: Ref, message: Decide | Answer) -> None:
        try:
            actor = await self.actor()
            async with act_turn(actor.user_id or 0):
                outcome = await _carry_out(actor, message)
        except Unauthenticated as error:
            self.refuse(error, ref)
            self.outbox.close(UNAUTHENTICATED)
        except ApprovalError as error:
            self.refuse(error, ref)
        except DatabaseError as error:
            logger.warning("socket_act_failed request=%s error=%r", message.request_id[:100], error)
            self.refuse(Unavailable(f"{AWAY} Repeating the message is safe."), ref)
        except Exception:
            logger.exception("socket_act_failed request=%s", message.request_id[:100])
            self.outbox.close(FAILED)
        else:
            self.outbox.answer(encode(protocol.DecisionAccepted(outcome=outcome_in_frame(outcome)), ref))
        finally:
            self._acting -= 1
            LiveConsumer.acting -= 1

    async def actor(self) -> Actor:
        """Return who acts by this connection at this moment; Unauthenticated where nobody may."""
        key = self.scope["session"].session_key or ""
        user_id = (await in_database(owners, [key])).get(key)
        if user_id is None:
            raise Unauthenticated("The session is over; log in again.")
        return actor_of_scope(self.scope, user_id, Channel.WEBSOCKET)

    def _user_exceeds_limit(self) -> bool:
        # Not known until the first reading.
        user_id = self._seats[0][1].user_id if self._seats else None
        return user_id is not None and of_users().take(user_id) > 0

    def _refuse_malformed(self, error: Malformed) -> None:
        self.refuse(error, error.ref)
        if not self._faults.take():
            self.outbox.close(MALFORMED)

    def _refuse_flood(self) -> None:
        self.refuse(RateLimited("Too many messages; the connection is closed if this goes on."))
        if not self._refusals.take():
            self.outbox.close(FLOODING)

    def refuse(self, error: ApprovalError, ref: Ref = None) -> None:
        self.outbox.answer(encode(protocol.refusal(error), ref))


class InboxConsumer(LiveConsumer):
    """`/ws/inbox/`: the requests that this person may see."""

    def join(self, credential: Credential) -> None:
        self.take_seat(inbox_hub(), InboxSeat(self.outbox, credential))


class ProgramInboxConsumer(InboxConsumer):
    """`/ws/api/inbox/`: the same for programs, with an API token in the `Authorization` header.

    The token needs the scope `read`, and `decide` for each act.
    """

    def enter(self) -> None:
        self._acts.create_task(self._admit())

    async def actor(self) -> Actor:
        bearer = await self._bearer(TokenScope.DECIDE)
        return actor_of_scope(self.scope, bearer.user_id, Channel.WEBSOCKET, bearer.token_id)

    async def _admit(self) -> None:
        try:
            bearer = await self._bearer(TokenScope.READ)
        except Unauthenticated:
            self.outbox.close(UNAUTHENTICATED)
        except NotPermitted as error:
            self.refuse(error)
            self.outbox.close(NOT_PERMITTED)
        except DatabaseError as error:
            logger.warning("socket_not_admitted error=%r", error)
            self.refuse(Unavailable(f"{AWAY} Connect again later."))
            self.outbox.close(TRY_AGAIN_LATER)
        else:
            # Unless the client has left, or was found flooding, meanwhile.
            if not self.outbox.closing:
                self.join(bearer.token_id)

    async def _bearer(self, scope: TokenScope) -> Bearer:
        """Return who shows the token at this moment; Unauthenticated or NotPermitted where it does not do."""
        secret = secret_of(self.scope)
        bearer = None if secret is None else await in_database(tokens.bearer, secret)
        if bearer is None:
            raise Unauthenticated("This token is unknown, or it has expired or been revoked.")
        if scope not in bearer.scopes:
            raise NotPermitted(f"This token lacks the scope that this needs: `{scope}`.")
        return bearer


async def _carry_out(actor: Actor, message: Decide | Answer) -> Outcome:
    if isinstance(message, Answer):
        return await deciding.aanswer(actor, message.request_id, message.answer, comment=message.comment)
    return await deciding.adecide(
        actor,
        message.request_id,
        message.decision,
        comment=message.comment,
        arguments=message.arguments,
        answer=message.answer,
    )
