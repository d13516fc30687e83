"""Sign a seal over the trail, keep a copy and send it to another machine."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from approvals.management import seal_options
from approvals.management.installation import require_tables
from approvals.management.screen import Misuse, Refused, Screen, ScreenCommand, raise_as_misuse
from approvals.trail import seals
from approvals.trail.seals import NotSealed, SealRecord, keys


class Command(ScreenCommand):
    help = (
        "Sign the range, count and SHA-256 of all entries since the last seal, and that seal's hash, with an"
        " Ed25519 key. Where nothing is new, the last seal is kept and sent again. See docs/audit.md."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--key", metavar="FILE", help="the private key; default: SAYSO_SEAL_KEY")
        parser.add_argument("--out", metavar="FILE", help="append missing seals to this file")
        parser.add_argument(
            "--url",
            metavar="URL",
            help="post the newest seal there; its host must be in SAYSO_CALLBACK_HOSTS",
        )
        parser.add_argument(
            "--new-key",
            metavar="FILE",
            help="make a private key in a new file, print the public one, seal nothing",
        )

    def handle(
        self, *, key: str | None, out: str | None, url: str | None, new_key: str | None, **options: Any
    ) -> None:
        if new_key is not None:
            if key or out or url:
                raise Misuse("--new-key can't be combined with other options.")
            return self._make_key(Path(new_key), self.progress)
        signing = seal_options.load_signing_key(key)
        path = None if out is None else seal_options.check_copies_path(out)
        target = None if url is None else seal_options.check_url(url)
        require_tables()
        try:
            before = seals.last_seal()
            made = seals.make(signing)
        except NotSealed as error:
            raise Refused(str(error)) from error
        self.stdout.write(_result_sentence(made, before))
        if made and before and made.public_key != before.public_key:
            self.progress.say(
                "This seal was signed with another key than the one before: give auditors the new public key."
            )
        if path:
            self.stdout.write(f"{seal_options.update_copies(path)} added to {path}.")
        newest = made or before
        if target and newest:
            seal_options.send(target, newest)
            self.stdout.write(f"Seal {newest.number} sent.")
        return None

    def _make_key(self, path: Path, screen: Screen) -> None:
        with raise_as_misuse(keys.UnusableKey):
            public = keys.new_key(path)
        screen.say(
            f"The private key is in {path}, readable by its owner only. This is the public key, for auditors:"
        )
        self.stdout.write(public.rstrip())


def _result_sentence(made: SealRecord | None, before: SealRecord | None) -> str:
    if made:
        return (
            f"Seal {made.number}: {made.entries} entries, {made.first_entry} to {made.last_entry};"
            f" {made.chains} requests were opened among them."
        )
    return f"Nothing new since seal {before.number}." if before else "There is nothing to seal."
