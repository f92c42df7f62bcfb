"""Engagement: how much a game yields and for how long it holds its players.

Belongs here: play sessions, throughput, average lifetime play, retention and inequality. Sources: von Ahn and
Dabbish, "Designing Games with a Purpose", CACM 51(8) (2008) 58-67 (expected contribution = throughput times
average lifetime play; the ESP game: 233 labels an hour, 91 minutes); Sauermann and Franzoni, PNAS 112 (2015)
679-684 (few do most of the work).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.methods.disclosure import SUPPRESSED, DisclosureRules

Floats: TypeAlias = npt.NDArray[np.float64]

SESSION_GAP_MIN = 30.0
RETENTION_DAYS = (1, 7, 30)
FIGURES: dict[str, str] = {
    "labels_per_uur": "labels/uur",
    "speelduur_per_speler": "min",
    "verwachte_bijdrage": "labels",
    "behoud_1_dag": "%",
    "behoud_7_dagen": "%",
    "behoud_30_dagen": "%",
    "gini": "0-1",
    "aandeel_top_10_procent": "%",
    "sessies_per_speler": "sessies",
}
"""Indicators of engagement and their units."""


def sessions(turns: pd.DataFrame, gap_min: float = SESSION_GAP_MIN) -> pd.DataFrame:
    """Play sessions: turns of one player with pauses of at most ``gap_min`` minutes.

    The time played is the sum of the turns' durations, where the source gives them; a turn without one counts
    as the median of that player's turns with one, or else of everybody's. It never runs over into the next
    turn.

    Args:
        turns: ``speler``, ``tijd`` (UTC, end of the turn), ``duur_s`` (missing when unknown or impossible)
            and ``aantal_labels``, a row a turn.
        gap_min: longest pause within a session.

    Returns:
        One row a session: ``speler``, ``sessie`` (1, 2, …), ``begin``, ``einde``, ``speeltijd_min``,
        ``aantal_beurten``, ``aantal_labels``. Empty when no duration at all is known.
    """
    columns = ["speler", "sessie", "begin", "einde", "speeltijd_min", "aantal_beurten", "aantal_labels"]
    rows = turns.dropna(subset=["tijd"]).sort_values(["speler", "tijd"], kind="stable", ignore_index=True)
    if rows.empty or rows["duur_s"].isna().all():
        return pd.DataFrame(columns=columns)
    own = rows.groupby("speler")["duur_s"].transform("median").fillna(rows["duur_s"].median())
    pause = rows.groupby("speler")["tijd"].diff()
    lasted = rows["duur_s"].fillna(own)
    # Turns in several windows at once are not several hours an hour.
    lasted = lasted.clip(upper=pause.dt.total_seconds().fillna(np.inf))
    starts = ~(pause <= pd.Timedelta(minutes=gap_min))
    rows = rows.assign(sessie=starts.groupby(rows["speler"]).cumsum().astype(int), min=lasted / 60)
    made = rows.groupby(["speler", "sessie"], as_index=False).agg(
        begin=("tijd", "min"),
        einde=("tijd", "max"),
        speeltijd_min=("min", "sum"),
        aantal_beurten=("min", "size"),
        aantal_labels=("aantal_labels", "sum"),
    )
    return made[columns]


def contribution(played_min: Floats, labels: Floats) -> dict[str, float]:
    """Labels an hour, average lifetime play (minutes a player) and expected contribution (labels a player).

    Args:
        played_min: minutes played by each player, shape (players,).
        labels: labels given by each player, shape (players,).
    """
    hours = played_min.sum() / 60
    throughput = labels.sum() / hours if hours > 0 else float("nan")
    lifetime = float(played_min.mean()) if len(played_min) else float("nan")
    return {
        "labels_per_uur": float(throughput),
        "speelduur_min": lifetime,
        "verwachte_bijdrage": float(throughput * lifetime / 60),
    }


def retention(first: pd.Series, last: pd.Series, end: pd.Timestamp, days: int) -> tuple[float, int]:
    """Share of players who still played at least so many days after their first time.

    Over players who started at least that long before the end, since of the others it cannot be known.

    Args:
        first: moment of each player's first turn.
        last: of the last.
        end: end of what is known.
        days: number of days.

    Returns:
        The share (NaN without players), and of how many.
    """
    could = first <= end - pd.Timedelta(days=days)
    stayed = (last - first)[could] >= pd.Timedelta(days=days)
    number = int(could.sum())
    return (float(stayed.mean()) if number else float("nan")), number


def gini(values: Floats) -> float:
    """Gini coefficient: 0 when all give the same, near 1 when one gives everything; NaN without anything."""
    ordered = np.sort(np.asarray(values, float))
    total, n = ordered.sum(), len(ordered)
    if n == 0 or total <= 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def top_share(values: Floats, share: float = 0.10) -> float:
    """Part of the whole that the largest ``share`` of the players give (at least one player)."""
    ordered = np.sort(np.asarray(values, float))[::-1]
    if not len(ordered) or ordered.sum() <= 0:
        return float("nan")
    number = max(1, int(np.ceil(share * len(ordered) - 1e-9)))
    return float(ordered[:number].sum() / ordered.sum())


def reference_month(months: pd.Series, players: pd.Series, first_open: str, min_players: int) -> str | None:
    """Last closed month up to which figures over all time may be shown.

    Two figures over all time that differ by a month can be subtracted, so a month is added only when at least
    ``min_players`` players played since the last one that was: until then it waits for the next.

    Args:
        months: month (``YYYY-MM``, local) of each judgement.
        players: its player.
        first_open: first month that may still receive judgements.
        min_players: players behind every figure about people.

    Returns:
        The month, or None when none may be shown.
    """
    rows = pd.DataFrame({"month": months.to_numpy(), "player": players.to_numpy()})
    waiting: set[object] = set()
    found = None
    for month, of_month in rows[rows["month"] < first_open].groupby("month"):
        waiting |= set(of_month["player"])
        if len(waiting) >= min_players:
            found, waiting = str(month), set()
    return found


def figures(rows: pd.DataFrame, end: pd.Timestamp, rules: DisclosureRules) -> pd.DataFrame:
    """The indicators of a group of players, each with the players it rests on; hidden where too few.

    Args:
        rows: sessions, of ``sessions``.
        end: until when is known who still played.
        rules: fewest players, and the largest share of one player in the sums.

    Returns:
        One row an indicator: ``indicator``, ``eenheid``, ``waarde`` (missing when hidden or unknown),
        ``waarde_status`` and ``aantal_spelers`` (missing when hidden).
    """
    players = rows.groupby("speler").agg(
        begin=("begin", "min"),
        einde=("einde", "max"),
        minutes=("speeltijd_min", "sum"),
        labels=("aantal_labels", "sum"),
        sessions=("sessie", "size"),
    )
    minutes, labels = players["minutes"].to_numpy(float), players["labels"].to_numpy(float)
    told = contribution(minutes, labels)
    largest = max((v.max() / v.sum() if v.sum() > 0 else 1.0) for v in (minutes, labels))
    number = len(players)
    spread = number >= rules.min_participants and largest <= rules.max_share
    found: dict[str, tuple[float, int, bool]] = {
        "labels_per_uur": (told["labels_per_uur"], number, spread),
        "speelduur_per_speler": (told["speelduur_min"], number, spread),
        "verwachte_bijdrage": (told["verwachte_bijdrage"], number, spread),
        "gini": (gini(labels), number, spread),
        # The top itself must be a group.
        "aandeel_top_10_procent": (
            100 * top_share(labels),
            number,
            spread and np.ceil(0.1 * number) >= rules.min_participants,
        ),
        "sessies_per_speler": (float(players["sessions"].mean()), number, spread),
    }
    for days in RETENTION_DAYS:
        share, of = retention(players["begin"], players["einde"], end, days)
        name = f"behoud_{days}_dag{'en' if days > 1 else ''}"
        found[name] = (100 * share, of, of >= rules.min_participants)
    made = pd.DataFrame(
        [(name, FIGURES[name], *found[name]) for name in FIGURES],
        columns=["indicator", "eenheid", "waarde", "aantal_spelers", "is_shown"],
    )
    hidden = ~made["is_shown"].astype(bool)
    status = pd.Series("definitief", index=made.index).mask(made["waarde"].isna(), "niet_beschikbaar")
    return made.assign(
        waarde=made["waarde"].mask(hidden),
        waarde_status=status.mask(hidden, SUPPRESSED),
        aantal_spelers=made["aantal_spelers"].astype("Int64").mask(hidden | made["waarde"].isna()),
    ).drop(columns="is_shown")
