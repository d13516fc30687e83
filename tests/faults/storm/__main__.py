"""`python -m tests.faults.storm --minutes N --seed S`: see the package."""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from tests.faults.storm.schedule import schedule

ENGINES = ("local", "procrastinate")


def main() -> int:
    options = _options()
    plan = schedule(options.seed, options.minutes, parts=_parts(options.engine))
    if options.plan:
        print(*plan, sep="\n")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="sayso-storm-"))
    from tests.faults.storm.storm import Storm

    storm = Storm(
        folder,
        plan,
        seed=options.seed,
        minutes=options.minutes,
        engine=options.engine,
        parts=_parts(options.engine),
        recheck=options.recheck,
        lease=options.lease,
        claim=options.claim,
        open_at_once=options.open,
        allowance=options.allowance,
    )
    return 0 if storm.rage() else 1


def _parts(engine: str) -> list[str]:
    servers = ["server-1", "server-2"]
    return servers if engine == "local" else [*servers, "worker-1", "worker-2"]


def _options() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.faults.storm", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="how long things break; default: %(default)s"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="what breaks when, who asks what; default: %(default)s"
    )
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[1], help="default: %(default)s")
    parser.add_argument("--open", type=int, default=None, help="runs open at once; default: by the minutes")
    parser.add_argument(
        "--recheck", type=float, default=30.0, help="re-check interval, seconds; default: %(default)s"
    )
    parser.add_argument(
        "--lease", type=float, default=30.0, help="SAYSO_LEASE, seconds; default: %(default)s"
    )
    parser.add_argument(
        "--claim", type=float, default=None, help="claims of messages, seconds; default: the product's"
    )
    parser.add_argument(
        "--allowance",
        type=float,
        default=15.0,
        help="what busy cores may take beside the re-check interval, seconds; default: %(default)s",
    )
    parser.add_argument("--plan", action="store_true", help="print the schedule, and do nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
