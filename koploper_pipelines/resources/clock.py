"""The clock: what time it is, and which day and month that makes in the province.

Nothing else in the package asks the machine for the time, so that a night can be run as of any moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

LOCAL = ZoneInfo("Europe/Amsterdam")


@dataclass(frozen=True)
class Clock:
    """Tells the time; `fixed` makes it stand still."""

    fixed: datetime | None = None

    def now(self) -> datetime:
        """This moment, in UTC."""
        return (self.fixed or datetime.now(UTC)).astimezone(UTC)

    def today(self) -> date:
        """The local day in the province."""
        return self.now().astimezone(LOCAL).date()

    def first_open_month(self, late_window_days: int) -> str:
        """The first measurement month (`YYYY-MM`) that still may receive rows; all before it are closed."""
        return f"{self.today() - timedelta(days=late_window_days):%Y-%m}"
