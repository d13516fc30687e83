"""What stands before an MCP server, and asks people about the calls that a policy names.

What client and server say passes as it is, line by line; a call that people must approve is held until they
have. So neither knows of the gate, and it works with every version of the protocol over stdio. What the gate
can't read goes nowhere: the server might read it otherwise.

Each call is a question of its own, under a key that is used once. Only where the run is named, and the client
names its calls, does a call that is made again after a restart find what was decided.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from threading import Lock, Thread
from typing import Any

from sayso_client.answers import Outcome
from sayso_client.clients import Request, Sayso
from sayso_client.errors import SaysoError, StillPending, Unreachable
from sayso_client.mcp_policy import Policy, Rule
from sayso_client.mcp_stdio import Pipe, line_of, parsed
from sayso_client.questions import key_of

# Seconds between two notices of progress, and for taking back what is open when the client has gone.
PROGRESS_EVERY, FAREWELL = 10.0, 1.5
# A step of progress so small that what the server says afterwards is always more.
A_LITTLE = 1e-9
PARSE_ERROR = -32700


@dataclass(eq=False, slots=True)
class Call:
    """A call that is held."""

    message: dict[str, Any]
    line: bytes
    rule: Rule
    request: Request | None = None
    dropped: bool = False
    """Whether the client does not wait for it any more."""

    @property
    def params(self) -> dict[str, Any]:
        """Return what is called, with which arguments."""
        params = self.message.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def meta(self) -> Mapping[str, Any]:
        """Return what the client says about the call."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}


class Gate:
    """Hold calls that come from the client until people have approved them."""

    def __init__(
        self, policy: Policy, sayso: Sayso, *, run: str | None, patience: float, server: Pipe, client: Pipe
    ) -> None:
        self._policy, self._sayso, self._patience = policy, sayso, patience
        self._server, self._client = server, client
        self._run, self._process = run, secrets.token_hex(8)
        # `_lasting`: requests whose key a call after a restart finds again.
        self._numbers, self._used, self._lasting = count(1), set[str](), set[str]()
        self._lock, self._closing = Lock(), Lock()
        self._held: dict[Any, Call] = {}
        # By what was called: questions that a call did not wait for to the end.
        self._left: dict[str, list[Request]] = {}

    def take(self, line: bytes) -> None:
        """Take a line from the client: pass it, or hold the calls in it."""
        try:
            said = parsed(line)
        except (ValueError, RecursionError) as error:
            problem = {"code": PARSE_ERROR, "message": f"The gate can't read this: {error}"}
            if line.strip():
                self._client.send({"id": None, "error": problem})
            return
        if isinstance(said, list) and any(map(self._rule_for, said)):
            for each in said:
                self._take(each, line_of(each))
        else:
            self._take(said, line)

    def close(self) -> None:
        """Take back what no call will find again. A second caller waits for the first."""
        with self._closing:
            with self._lock:
                held, left = [*self._held.values()], [*self._left.values()]
                self._held, self._left = {}, {}
                for call in held:
                    call.dropped = True
            opened = [call.request for call in held if call.request]
            opened += [request for some in left for request in some]
            moot = [request for request in opened if request.id not in self._lasting]
            threads = [start(self._take_back, request) for request in moot]
            ends = time.monotonic() + FAREWELL
            for thread in threads:
                thread.join(max(0.0, ends - time.monotonic()))

    def _rule_for(self, message: Any) -> Rule | None:
        if not isinstance(message, dict) or message.get("method") != "tools/call":
            return None
        params = message.get("params")
        return self._policy.rule_for(str(params.get("name") if isinstance(params, dict) else None))

    def _take(self, message: Any, line: bytes) -> None:
        if rule := self._rule_for(message):
            call = Call(message, line, rule)
            with self._lock:
                self._held[_id_of(message.get("id"))] = call
            start(self._decide, call)
        elif not self._is_dropped(message):
            self._server.write(line)

    def _is_dropped(self, message: Any) -> bool:
        """Whether this ends a call that is held; it is taken back."""
        match message:
            case {"method": "notifications/cancelled", "params": {"requestId": int() | str() as name}}:
                with self._lock:
                    call = self._held.pop(_id_of(name), None)
                    if call is not None:
                        call.dropped = True
                if call is not None and call.request is not None:
                    start(self._take_back, call.request)
                return call is not None
        return False

    def _decide(self, call: Call) -> None:
        try:
            outcome = self._outcome(call)
        except SaysoError as error:
            self._end(call, refusal=f"Nobody could be asked: {error}")
            return
        except Exception:  # noqa: BLE001  whatever it is, the call has not been approved
            traceback.print_exc()
            self._end(call, refusal="Nobody could be asked: the call can't be shown to people.")
            return
        if outcome is None:
            self._end(call, refusal="Nobody has decided yet. Call again with the same arguments to wait on.")
        elif outcome.approved:
            self._end(call, outcome=outcome)
        else:
            self._end(call, refusal=outcome.reason())

    def _outcome(self, call: Call) -> Outcome | None:
        """Ask, and wait; None where nobody has decided in time: an equal call waits on."""
        called = json.dumps([call.params.get("name"), call.params.get("arguments")], sort_keys=True)
        with self._lock:
            waiting = self._left.get(called)
            call.request = waiting.pop() if waiting else None
        if call.request is None:
            call.request = self._open(call)
        with self._lock:
            dropped = call.dropped
        if dropped:
            return call.request.withdraw("The call was cancelled.")
        ends = time.monotonic() + self._patience
        while True:
            self._tell(call, call.request)
            left = max(0.0, ends - time.monotonic())
            try:
                return call.request.wait(patience=min(PROGRESS_EVERY, left))
            except StillPending:
                if left > PROGRESS_EVERY:
                    continue
            except Unreachable:
                pass
            break
        with self._lock:
            if not call.dropped:
                self._left.setdefault(called, []).append(call.request)
        return None

    def _open(self, call: Call) -> Request:
        name, arguments = str(call.params.get("name")), call.params.get("arguments", {})
        key, lasting = self._key_of(call)
        request = self._sayso.open_approval(
            call.rule.title_for(name, arguments if isinstance(arguments, Mapping) else {}),
            key=key,
            arguments=arguments,
            origin={"kind": "mcp", "id": key_of(self._run or self._process)},
            **call.rule.terms(),
        )
        if lasting:
            self._lasting.add(request.id)
        return request

    def _key_of(self, call: Call) -> tuple[str, bool]:
        """Return a key that no other call of this process has, and whether it outlives the process."""
        named = call.meta.get(self._policy.call_id)
        with self._lock:
            key = key_of(self._run, named)
            if not self._run or not named or key in self._used:
                return key_of(self._process, next(self._numbers)), False
            self._used.add(key)
            return key, True

    def _tell(self, call: Call, request: Request) -> None:
        token = call.meta.get("progressToken")
        if token is not None:
            with self._lock:
                progress = {"progress": A_LITTLE * next(self._numbers), "progressToken": token}
            text = f"Waiting for a person: {request.url}"
            self._client.send({"method": "notifications/progress", "params": {**progress, "message": text}})

    def _end(self, call: Call, *, outcome: Outcome | None = None, refusal: str = "") -> None:
        """Pass the call on, or refuse it, if the client still waits for it."""
        with self._lock:
            if call.dropped:
                return
            self._held.pop(_id_of(call.message.get("id")), None)
            if outcome is not None:
                self._server.write(self._approved(call, outcome))
                return
        if "id" in call.message:
            content = [{"type": "text", "text": refusal}]
            result = {"content": content, "isError": True, "resultType": "complete"}
            self._client.send({"id": call.message["id"], "result": result})

    def _approved(self, call: Call, outcome: Outcome) -> bytes:
        if not outcome.edited:
            return call.line
        return line_of({**call.message, "params": {**call.params, "arguments": outcome.arguments}})

    def _take_back(self, request: Request) -> None:
        try:
            request.withdraw("The call was cancelled.")
        except SaysoError as error:
            print(f"sayso-mcp gate: {request.url} could not be taken back: {error}", file=sys.stderr)


def _id_of(name: Any) -> Any:
    """Return what stands for an id of JSON-RPC in a dictionary: 1 is not "1"."""
    return name if isinstance(name, str | int | float) else json.dumps(name, sort_keys=True)


def start(act: Any, *arguments: Any) -> Thread:
    """Do this in a thread that does not keep the process alive."""
    thread = Thread(target=act, args=arguments, daemon=True)
    thread.start()
    return thread
