"""A demo tenant, a month of real agent traffic, and more of it live."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from aforo.core.models import Tenant
from aforo.demo import corrections, history, keys, live, replay, report, seed, state
from aforo.demo.door import Door, DoorError
from aforo.demo.progress import Progress
from aforo.embedded.state import read_run, update_run
from aforo.lib import ids

LIVE_SPEED = 60


class Command(BaseCommand):
    """Seeds, replays the history, sends live traffic, reports."""

    help = (
        "Make a demo tenant and replay a month of recorded agent traffic into it;"
        " with --live go on with traffic of now. Ctrl-C stops it, and the next run"
        " goes on from there."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--seed-only", action="store_true", help="the tenant, without traffic"
        )
        parser.add_argument(
            "--history-only",
            action="store_true",
            help="never live traffic",
        )
        parser.add_argument(
            "--live", action="store_true", help="go on with traffic of now"
        )
        parser.add_argument(
            "--speed",
            type=int,
            help=f"seconds of the recording per second of live traffic ({LIVE_SPEED});"
            " implies --live",
        )
        parser.add_argument(
            "--seconds", type=float, help="stop the live traffic after so long"
        )
        parser.add_argument(
            "--again",
            action="store_true",
            help="send the whole history once more: every event is known already",
        )
        parser.add_argument("--slice", type=int, help="only so many calls of history")
        parser.add_argument("--tenant", help="the id of a tenant to fill, of ours")
        parser.add_argument(
            "--in-worker", action="store_true", help="called by a worker: rate too"
        )
        parser.add_argument(
            "--url", help="where Aforo answers (what manage.py up wrote down)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked for; Ctrl-C leaves a state to go on from."""
        if options["speed"] is not None and options["speed"] < 1:
            raise CommandError("--speed is at least 1.")
        keyring = keys.open_keyring(settings.DATA_DIR)
        tenant = seed.seed(self._tenant(options["tenant"]), keyring, self._say)
        self._tell_logins(tenant, keyring)
        if options["seed_only"]:
            return
        url = options["url"] or read_run(settings.DATA_DIR).get("web_url")
        if not url:
            raise CommandError("Aforo is not running here: start it with make up.")
        progress = state.load(settings.DATA_DIR, tenant.public_id)
        if options["again"]:
            progress.chunks_done = 0
        try:
            whole = self._history(tenant, url, keyring, progress, options)
            # Invoices and figures first: live traffic goes on until it is stopped.
            self._conclude(tenant, options, whole=whole and options["slice"] is None)
            wants_live = options["live"] or options["speed"] is not None
            if whole and wants_live and not options["history_only"]:
                self._live(tenant, url, keyring, progress, options)
                self._conclude(tenant, options, whole=False)
        except (DoorError, replay.RatingStuck) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            # Everything was sent: what is left is to wait, and to report.
            self._say("  stopped; the same command goes on from here")

    def _conclude(
        self, tenant: Tenant, options: dict[str, Any], *, whole: bool
    ) -> None:
        """Wait for the books, issue what the whole history makes due, and report."""
        replay.wait_until_rated(
            tenant, self._bar("rating"), in_worker=options["in_worker"]
        )
        if whole:
            corrected = corrections.correct(tenant)
            if corrected:
                self._say("  corrected one event is void, one is amended")
            issued = history.complete(tenant)
            if issued:
                self._say(f"  invoices  {issued} issued for the months that ended")
        self._report(tenant)

    def _tenant(self, name: str | None) -> Tenant | None:
        """Return the tenant named on the command line."""
        if name is None:
            return None
        public = ids.parse_public("ten", name)
        try:
            return Tenant.objects.get(pk=public or name)
        except (Tenant.DoesNotExist, ValueError) as error:
            raise CommandError(f"There is no tenant {name}.") from error

    def _tell_logins(self, tenant: Tenant, keyring: keys.Keyring) -> None:
        """Print who may sign in, and write it where `up` finds it."""
        logins = seed.logins(tenant)
        if settings.DATA_DIR.is_dir():
            update_run(
                settings.DATA_DIR,
                demo_logins=logins,
                demo_service_key=keyring.service_key,
            )
        for login in logins:
            self._say(f"  {login['role']:<16}{login['email']:<32}{login['password']}")
        self._say(f"  keys      {keyring.path}")

    def _history(
        self,
        tenant: Tenant,
        url: str,
        keyring: keys.Keyring,
        progress: state.State,
        options: dict[str, Any],
    ) -> bool:
        """Send what is left of the history; return whether all of it was sent."""
        calls = replay.plan(replay.prefix_of(tenant), history.end_of(tenant))
        calls = calls[: options["slice"]]
        door = Door(url, keyring.service_key)
        sender = replay.Sender(calls, door, progress)
        if progress.chunks_done >= sender.chunk_count:
            self._say("  history   complete; --again sends it once more")
            return True
        whole = sender.run(self._bar("history")(len(calls), sender.sent))
        self._tell_tally(door)
        if not whole:
            self._say("  stopped; manage.py demo goes on from here")
        return whole

    def _live(
        self,
        tenant: Tenant,
        url: str,
        keyring: keys.Keyring,
        progress: state.State,
        options: dict[str, Any],
    ) -> None:
        """Send traffic of now until it is stopped."""
        speed = options["speed"] or LIVE_SPEED
        self._say(f"  live      at speed {speed}; Ctrl-C stops it")
        door = Door(url, keyring.service_key)
        live.Live(tenant, door, progress, speed, self._say, options["seconds"]).run()
        self._tell_tally(door)

    def _tell_tally(self, door: Door) -> None:
        """Print what the doors answered."""
        self._say(report.answers(door.tally.asked))
        reported = ", ".join(f"{n:,} {s}" for s, n in door.tally.reported.items())
        self._say(f"  events    {reported or 'none'}")
        for reason in door.tally.reasons:
            self._say(f"            {reason}")

    def _report(self, tenant: Tenant) -> None:
        """Print the books, and whether every invariant holds."""
        for line in report.lines(tenant):
            self._say(line)
        self._say("")
        try:
            call_command("verify", stdout=self.stdout)
        except SystemExit as broken:
            raise CommandError("An invariant is broken; see above.") from broken

    def _bar(self, label: str) -> Any:
        """Return what makes a progress bar for so many calls, some done already."""

        def make(total: int, first: int = 0) -> Progress:
            return Progress(label, total, self._write, sys.stdout.isatty(), first)

        return make

    def _say(self, line: str) -> None:
        self._write(f"{line}\n")

    def _write(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()
