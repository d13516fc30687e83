"""The command `sayso`: ask, wait and decide from a shell."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from sayso_client.answers import Asked, Outcome
from sayso_client.clients import Sayso
from sayso_client.errors import NotSetUp, Problem, SaysoError, StillPending

_DEFAULT = argparse.SUPPRESS


class Exit(IntEnum):
    """As `manage.py orchestrate` of the server has them."""

    YES = 0
    ERROR = 1
    MISUSE = 2
    NO = 3
    NOBODY = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with Sayso(options.url, options.token, give_up_after=options.give_up_after) as sayso:
            return int(options.run(sayso, options))
    except NotSetUp as error:
        return _fail(str(error), Exit.MISUSE)
    except StillPending as error:
        return _fail(f"{error} Wait again with: sayso wait {error.request_id}", Exit.NOBODY)
    except Problem as error:
        lines = [f"{each['field']}: {each['message']}" for each in error.errors]
        return _fail("\n".join(lines) or error.detail, Exit.MISUSE if error.code == "invalid" else Exit.ERROR)
    except SaysoError as error:
        return _fail(str(error), Exit.ERROR)
    except KeyboardInterrupt:
        return _fail("Interrupted; the request stays open.", Exit.ERROR)


def _approve(sayso: Sayso, options: argparse.Namespace) -> Exit:
    terms = _terms(options, "arguments", "required", "four_eyes", "on_timeout")
    return _told(options, sayso.approve(options.title, patience=options.patience, on_wait=_say_open, **terms))


def _ask(sayso: Sayso, options: argparse.Namespace) -> Exit:
    terms = _terms(options, "choices", "multiple", "schema", "default")
    return _told(options, sayso.ask(options.title, patience=options.patience, on_wait=_say_open, **terms))


def _wait(sayso: Sayso, options: argparse.Namespace) -> Exit:
    return _told(options, sayso.wait(options.id, patience=options.patience))


def _decide(sayso: Sayso, options: argparse.Namespace) -> Exit:
    outcome = sayso.decide(
        options.id,
        options.decision,
        comment=options.comment,
        arguments=options.arguments,
        answer=options.answer,
    )
    _say(options, outcome)
    return Exit.YES


def _answer(sayso: Sayso, options: argparse.Namespace) -> Exit:
    _say(options, sayso.answer(options.id, options.answer, comment=options.comment))
    return Exit.YES


def _withdraw(sayso: Sayso, options: argparse.Namespace) -> Exit:
    _say(options, sayso.withdraw(options.id, options.reason))
    return Exit.YES


def _list(sayso: Sayso, options: argparse.Namespace) -> Exit:
    filters = {name: getattr(options, name) for name in ("status", "kind", "assigned", "asked", "key")}
    for request in sayso.requests(**{name: value for name, value in filters.items() if value}):
        if options.json:
            print(json.dumps(request.raw))
        else:
            print(f"{request.id}  {request.status:<10}  {request.title}")
    return Exit.YES


def _terms(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    given = vars(options)
    common = ("key", "details", "timeout", "severity", "callback_url")
    terms = {name: given[name] for name in (*common, *names) if name in given}
    assignees = {"users": options.user, "groups": options.group}
    if any(assignees.values()):
        terms["assignees"] = {name: value for name, value in assignees.items() if value}
    return terms


def _say_open(request: Asked) -> None:
    print(f"waiting for a person: {request.url} ({request.id})", file=sys.stderr, flush=True)


def _told(options: argparse.Namespace, outcome: Outcome) -> Exit:
    _say(options, outcome)
    if outcome.withdrawn or (outcome.timed_out and not outcome.approved):
        return Exit.NOBODY
    return Exit.NO if outcome.approved is False else Exit.YES


def _say(options: argparse.Namespace, outcome: Outcome) -> None:
    if options.json:
        print(json.dumps(outcome.raw))
    elif outcome.kind == "clarification" and outcome.answer is not None:
        print(outcome.answer if isinstance(outcome.answer, str) else json.dumps(outcome.answer))
    else:
        print(outcome.reason())


def _fail(text: str, status: Exit) -> int:
    print(text, file=sys.stderr)
    return int(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sayso",
        description="Ask people for approvals and answers, and wait for them.",
        epilog="Exit status: 0 yes, 3 no, 4 nobody decided or it was withdrawn, 2 misuse, 1 anything else.",
    )
    parser.add_argument("--url", help="the installation's address (or SAYSO_URL)")
    parser.add_argument("--token", help="an API token (better: SAYSO_TOKEN, which others do not see)")
    parser.add_argument(
        "--give-up-after", type=float, metavar="SECONDS", help="how long to try while the server is away"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    approve = _asking(commands, "approve", "ask people to approve an exact action", _approve)
    approve.add_argument("--arguments", type=_json, default=_DEFAULT, metavar="JSON", help="the action")
    approve.add_argument("--required", type=int, default=_DEFAULT, help="how many must approve")
    approve.add_argument("--four-eyes", action="store_true", default=_DEFAULT, help="not who asks")
    approve.add_argument("--on-timeout", choices=["reject", "approve"], default=_DEFAULT)

    ask = _asking(commands, "ask", "ask people for an answer", _ask)
    ask.add_argument(
        "--choice", dest="choices", action="append", default=_DEFAULT, help="one of them; repeat it"
    )
    ask.add_argument(
        "--multiple", action="store_true", default=_DEFAULT, help="several choices may be picked"
    )
    ask.add_argument(
        "--schema", type=_json, default=_DEFAULT, metavar="JSON", help="the answer's JSON Schema"
    )
    ask.add_argument("--default", default=_DEFAULT, help="the answer when the deadline passes")

    wait = _about_one(commands, "wait", "wait until a request is closed", _wait)
    wait.add_argument("--patience", type=float, metavar="SECONDS")
    decide = _about_one(commands, "decide", "approve or reject", _decide)
    decide.add_argument("decision", choices=["approve", "reject", "respond"])
    decide.add_argument("--comment", default="")
    decide.add_argument("--answer", metavar="TEXT", help="the text of `respond`")
    decide.add_argument("--arguments", type=_json, metavar="JSON", help="the action as you change it")
    answer = _about_one(commands, "answer", "answer a question", _answer)
    answer.add_argument("answer", type=_text_or_json, help="text, or @JSON for lists and data")
    answer.add_argument("--comment", default="")
    withdraw = _about_one(commands, "withdraw", "take a question back", _withdraw)
    withdraw.add_argument("reason", nargs="?", default="")

    listing = _command(commands, "list", "list requests, newest first", _list)
    listing.add_argument("--status")
    listing.add_argument("--kind", choices=["approval", "clarification"])
    listing.add_argument(
        "--mine", dest="assigned", action="store_const", const="me", help="that you may decide"
    )
    listing.add_argument("--asked", action="store_const", const="me", help="that you have asked")
    listing.add_argument("--key", help="that you asked under this key")
    return parser


def _command(commands: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=f"{about.capitalize()}."
    )
    parser.add_argument("--json", action="store_true", help="print what the server says")
    parser.set_defaults(run=run)
    return parser


def _about_one(commands: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    parser = _command(commands, name, about, run)
    parser.add_argument("id", help="the request's id")
    return parser


def _asking(commands: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    parser = _command(commands, name, f"{about}, and wait", run)
    parser.add_argument("title", help="one line")
    parser.add_argument(
        "--key", required=True, help="names the question for ever: started again, it is found"
    )
    parser.add_argument("--details", default=_DEFAULT, metavar="MARKDOWN")
    parser.add_argument("--user", action="append", help="who may decide; repeat it")
    parser.add_argument("--group", action="append", help="a group that may decide; repeat it")
    parser.add_argument("--timeout", type=float, default=_DEFAULT, metavar="SECONDS", help="to the deadline")
    parser.add_argument("--severity", choices=["normal", "high"], default=_DEFAULT)
    parser.add_argument("--callback-url", default=_DEFAULT, metavar="URL")
    parser.add_argument("--patience", type=float, metavar="SECONDS", help="how long to wait here")
    return parser


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"is no JSON: {error}") from None


def _text_or_json(text: str) -> Any:
    return _json(text[1:]) if text.startswith("@") else text


if __name__ == "__main__":
    sys.exit(main())
