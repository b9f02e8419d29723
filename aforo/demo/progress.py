"""Progress in plain text: one line that moves at a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

BAR = 24
TERMINAL_EVERY_S = 0.2
ELSEWHERE_EVERY_S = 10.0


def span(seconds: float) -> str:
    """Return a time in words: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"


@dataclass(slots=True)
class Progress:
    """A bar with rate and the time that is left."""

    label: str
    total: int
    write: Callable[[str], object]
    is_terminal: bool
    first: int = 0  # Where it starts: what was done before counts for no rate.
    _started: float = field(default_factory=time.monotonic)
    _shown: float = 0.0

    def show(self, done: int, *, last: bool = False) -> None:
        """Show how much is done, if it is time to."""
        now = time.monotonic()
        every = TERMINAL_EVERY_S if self.is_terminal else ELSEWHERE_EVERY_S
        if not last and now - self._shown < every:
            return
        self._shown = now
        line = self.line(done, now - self._started)
        if self.is_terminal:
            self.write(f"\r{line:<78}" + ("\n" if last else ""))
        else:
            self.write(f"{line}\n")

    def line(self, done: int, seconds: float) -> str:
        """Return the bar as text."""
        part = done / self.total if self.total else 1.0
        filled = int(part * BAR)
        rate = (done - self.first) / seconds if seconds > 0 else 0.0
        text = f"  {self.label:<9} [{'#' * filled}{'.' * (BAR - filled)}] {part:4.0%}"
        text += f"  {done:,} of {self.total:,}  {rate:,.0f}/s"
        if rate > 0 and done < self.total:
            text += f"  {span((self.total - done) / rate)} left"
        return text
