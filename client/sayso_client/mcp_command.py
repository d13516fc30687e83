"""The command `sayso-mcp`: an MCP server by which a model asks people, or a gate before another server."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, cast

from sayso_client.clients import AsyncSayso, Sayso
from sayso_client.errors import NotSetUp
from sayso_client.mcp_gate import Gate, start
from sayso_client.mcp_policy import BadPolicy, Policy
from sayso_client.mcp_stdio import Pipe, lines

# Seconds that a call waits: clients commonly give up after 60, whatever progress they are told.
PATIENCE = 50.0
# Seconds that Sayso may be away when the gate asks.
GIVE_UP_AFTER = 30.0
MISUSE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["gate"]:
        return _run_gate(given[1:])
    options = _parser().parse_args(given)
    token = None if options.http else os.environ.get("SAYSO_TOKEN")
    try:
        AsyncSayso(options.url, "of each client" if options.http else token)
        from sayso_client.mcp import Tools, run
    except NotSetUp as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(f"{error}: sayso-mcp needs an extra: pip install 'sayso-client[mcp]'")
    assignees = {name: named for name in ("users", "groups") if (named := getattr(options, name))}
    terms = {"timeout": options.timeout, "assignees": assignees}
    said = {name: value for name, value in terms.items() if value}
    named = {"run": options.run, "patience": options.patience, "terms": said, "pages": options.pages}
    run(Tools(options.url, token, **named), options.http)
    return 0


def _run_gate(arguments: Sequence[str]) -> int:
    own, command = _split(arguments)
    options = _gate_parser().parse_args(own)
    if not command:
        return _fail("No server: give its command after --.")
    try:
        policy, sayso = Policy.read(options.policy), Sayso(options.url, give_up_after=GIVE_UP_AFTER)
        server = _start_server(command)
    except (BadPolicy, NotSetUp, OSError) as error:
        return _fail(str(error))
    said = cast("IO[bytes]", server.stdout)
    to_server, to_client = Pipe(cast("IO[bytes]", server.stdin)), Pipe(sys.stdout)
    gate = Gate(policy, sayso, run=options.run, patience=options.patience, server=to_server, client=to_client)
    start(_listen, gate, to_server)
    for line in lines(said):
        to_client.write(line)
    gate.close()
    status = server.wait()
    return status if status >= 0 else 128 - status


def _listen(gate: Gate, to_server: Pipe) -> None:
    for line in lines(sys.stdin):
        gate.take(line)
    to_server.close()
    gate.close()


def _start_server(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the server, which is not told by which token people are asked."""
    environment = {name: value for name, value in os.environ.items() if name != "SAYSO_TOKEN"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, bufsize=0)


def _fail(text: str) -> int:
    print(text, file=sys.stderr)
    return MISUSE


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", int(port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sayso-mcp",
        description="Let a model ask people: an MCP server, over stdio unless --http is given.",
        epilog="It asks by SAYSO_TOKEN, over HTTP by the client's token. The gate: sayso-mcp gate --help.",
    )
    _add_common(parser)
    parser.add_argument("--http", type=_address, metavar="[HOST:]PORT", help="serve streamable HTTP at /mcp")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="to the deadline of a request")
    parser.add_argument("--no-pages", dest="pages", action="store_false", help="never offer a request's page")
    parser.add_argument("--user", dest="users", action="append", help="who may decide; repeat it")
    parser.add_argument("--group", dest="groups", action="append", help="a group that may; repeat it")
    return parser


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def _gate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sayso-mcp gate",
        usage="sayso-mcp gate --policy FILE [options] -- COMMAND …",
        description="Start an MCP server, and ask people about the calls of tools that a policy names.",
        epilog="It asks by the token SAYSO_TOKEN, which the server is not told.",
    )
    _add_common(parser)
    parser.add_argument("--policy", required=True, metavar="FILE", help="which tools, and how (TOML)")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    run = os.environ.get("SAYSO_RUN")
    parser.add_argument("--url", help="the installation's address (or SAYSO_URL)")
    parser.add_argument("--run", default=run, metavar="NAME", help="of the run, in keys (or SAYSO_RUN)")
    parser.add_argument("--patience", type=float, default=PATIENCE, metavar="SECONDS", help="of one call")


if __name__ == "__main__":
    sys.exit(main())
