"""All configuration: one typed object, read from `KOPLOPER_*` environment variables.

The choices that belong to one experiment (thresholds, time zone of a device) do not stand here but in
that experiment's folder, as a subclass of `ExperimentSettings`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LATE_WINDOW_DAYS = 7
"""A measurement month is closed this long after its end: rows arrive up to a week late."""


class Settings(BaseSettings):
    """Configuration of one installation; everything it writes stands under `home`."""

    model_config = SettingsConfigDict(env_prefix="KOPLOPER_", frozen=True)

    home: Path = Path(".koploper")
    warehouse_url: str | None = None
    """SQLAlchemy URL of the published tables; default: SQLite in `home/warehouse/published.sqlite`."""
    key: str | None = None
    """The installation's secret, at least 32 characters; default: made once, in `home/sleutel`."""
    now: datetime | None = None
    """A fixed clock, to run a night as of another moment; default: the machine's clock."""
    keep_originals: bool = False
    """Keep accepted inbox files, encrypted, instead of deleting them after landing."""
    min_participants: int = 5
    """Participants behind every figure about people in a release, whatever an experiment's own limit is."""
    small_table_rows: int = 20_000
    """Up to this many rows Great Expectations sees the rows themselves beside the counts of its rules."""

    query_memory_mb: int = Field(default=600, ge=100)
    """Memory in MB that the queries of one step take before they go on on disk."""
    run_rows: int = Field(default=1_000_000, ge=1)
    """Landed rows of which the months are made in one run, of more than one month."""

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("now")
    @classmethod
    def _with_zone(cls, now: datetime | None) -> datetime | None:
        if now is not None and now.tzinfo is None:
            raise ValueError("KOPLOPER_NOW needs a time zone, as in 2026-11-23T02:30:00+01:00")
        return now

    @property
    def inbox(self) -> Path:
        """Where people drop files, one folder an experiment."""
        return self.home / "inbox"

    @property
    def lake(self) -> Path:
        """Delta tables of all layers, their quarantine and the quality ledger."""
        return self.home / "lake"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME of this installation: command line, schedule and UI share it."""
        return self.home / "dagster"

    @property
    def published_url(self) -> str:
        """SQLAlchemy URL of the published tables."""
        return self.warehouse_url or f"sqlite:///{self.home / 'warehouse' / 'published.sqlite'}"

    def subkey(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose, derived from the installation's secret."""
        return hmac.digest(self._secret(), purpose.encode(), hashlib.sha256)

    def _secret(self) -> bytes:
        if self.key is not None:
            if len(self.key) < 32:
                raise ValueError(
                    "KOPLOPER_KEY has fewer than 32 characters; expected a random secret of 32 or more"
                )
            return self.key.encode()
        file = self.home / "sleutel"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            scratch = file.with_suffix(f".{os.getpid()}")
            scratch.touch(mode=0o600)
            scratch.write_text(secrets.token_hex(32))
            # A link fails when another process was first, so that two first starts agree on one key.
            with contextlib.suppress(FileExistsError):
                os.link(scratch, file)
            scratch.unlink()
        return file.read_text().strip().encode()


class ExperimentSettings(BaseSettings):
    """Base of an experiment's own choices; each subclass sets its own `KOPLOPER_<EXPERIMENT>_` prefix."""

    model_config = SettingsConfigDict(frozen=True)

    def fingerprint(self) -> dict[str, Any]:
        """The choices as plain values, for the stamp of every table made with them."""
        return self.model_dump(mode="json")
