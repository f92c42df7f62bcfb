"""Conversations with citizens as Polis exports them, with plain CSVs of ideas, answers and people beside it.

Here belong who takes part, what they think, how they vote and what goes wrong; their words are in `words.py`.
The truth (groups, blocs, floods, themes, planted personal data) goes to a folder of its own. The layout is
that of Polis' open data; the faults are those of real exports: repeated and changed votes, exact doubles,
votes on rejected statements, files that are not sorted by time.
"""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.simulation import Simulated
from koploper_pipelines.simulation.slimme_participatie import words

MUNICIPALITIES = ("Utrecht", "Amersfoort", "Zeist", "Nieuwegein", "Veenendaal", "Woerden")
POPULATION_OF = (367_951, 161_852, 66_503, 66_107, 69_174, 53_670)
BANDS = ("0 tot 15 jaar", "15 tot 30 jaar", "30 tot 45 jaar", "45 tot 65 jaar", "65 jaar of ouder")
AGES = ((0, 14), (15, 29), (30, 44), (45, 64), (65, 90))
OF_POPULATION = (0.16, 0.19, 0.20, 0.26, 0.19)
OF_PARTICIPANTS = (0.005, 0.10, 0.25, 0.395, 0.25)
VOTES_PER_PERSON = 25
STATEMENTS_EACH = 60


@dataclass(frozen=True)
class Scenario:
    """What a conversation is like.

    Attributes:
        participants: citizens who vote, besides trolls and campaigners.
        statements: statements.
        kind: ``groepen`` (known groups), ``as`` (one continuous axis) or ``toeval`` (independent votes).
        groups: number of groups, where there are any.
        strength: how far groups (or the ends of the axis) lie apart, in standard deviations of opinion.
        density: share of the statements that a citizen votes on, on average.
        trolls: participants who vote all alike.
        flood: participants who come within one hour to agree with one statement.
        ideas: ideas with words and an outcome.
        planted: share of the ideas with something personal in it.
    """

    participants: int = 300
    statements: int = STATEMENTS_EACH
    kind: str = "groepen"
    groups: int = 3
    strength: float = 1.2
    density: float = 0.4
    trolls: int = 0
    flood: int = 0
    ideas: int = 0
    planted: float = 0.1


def simulate(
    inbox: Path,
    truth: Path,
    *,
    last_day: date,
    days: int,
    participants: int | None,
    rows: int | None,
    seed: int,
) -> Simulated:
    """Write one conversation of known groups, with trolls and a flood, to the inbox and the truth beside it.

    Args:
        inbox: folder for the conversation's folder, `gesprek-<seed>`.
        truth: folder for the truth.
        last_day: last day of the conversation.
        days: how many days it lasts.
        participants: citizens; 300 by default, or as many as `rows` votes ask for.
        rows: number of votes to aim at.
        seed: the same seed gives the same files.

    Raises:
        ValueError: more votes than citizens times statements.
    """
    people = participants or (max(30, round((rows or 0) / VOTES_PER_PERSON)) if rows else 300)
    density = VOTES_PER_PERSON / STATEMENTS_EACH if rows is None else rows / (people * STATEMENTS_EACH)
    if density > 0.95:
        raise ValueError(
            f"{rows} votes of {people} citizens on {STATEMENTS_EACH} statements,"
            " expected at most 95% of all pairs"
        )
    scenario = Scenario(participants=people, density=density, trolls=12, flood=80, ideas=250)
    return conversation(inbox / f"gesprek-{seed}", truth, scenario, last_day=last_day, days=days, seed=seed)


def demo(inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
    """Write two conversations of closed months and one that still goes on, with the lists beside them."""
    closed = (last.replace(day=1) if last.month != first.month else last) - timedelta(days=3)
    days = min((closed - first).days, 20)
    scenarios = {
        "energie in de buurt": (Scenario(trolls=12, flood=80, ideas=300), closed),
        "omgevingsvisie": (Scenario(kind="as", strength=0.9, participants=200, statements=40), closed),
        "fietsroutes": (
            Scenario(participants=120, statements=30, groups=2),
            min(last, now.date() - timedelta(days=1)),
        ),
    }
    made = [
        conversation(inbox / name, folder / name, scenario, last_day=end, days=days, seed=seed)
        for seed, (name, (scenario, end)) in enumerate(scenarios.items(), start=1)
    ]
    lists = write_lists(inbox, [m.truth for m in made])
    return Simulated((*(f for m in made for f in m.files), *lists), folder, sum(m.rows for m in made))


def conversation(
    folder: Path, truth: Path, scenario: Scenario, *, last_day: date, days: int, seed: int
) -> Simulated:
    """Write one conversation to a folder, in the layout of Polis with plain CSVs beside it."""
    rng = np.random.default_rng([seed, zlib.crc32(folder.name.encode())])
    folder.mkdir(parents=True, exist_ok=True)
    truth.mkdir(parents=True, exist_ok=True)
    people = _people(rng, scenario)
    statements = _statements(rng, scenario)
    votes = _votes(rng, scenario, people, statements)
    votes = _with_steering(rng, scenario, people, statements, votes)
    events = _events(rng, votes, last_day, days)
    files = [
        _write_votes(rng, folder, events),
        _write_comments(folder, statements, events, last_day, days),
        _write_matrix(folder, statements, people, events),
        _write_summary(folder, statements, people),
        _write_people(folder, people),
    ]
    ideas = _ideas(rng, scenario, people)
    if scenario.ideas:
        files += _write_ideas(rng, folder, ideas, last_day, days)
    people.to_csv(truth / "deelnemers.csv", index=False)
    statements.to_csv(truth / "stellingen.csv", index=False)
    ideas.to_csv(truth / "ideeen.csv", index=False)
    return Simulated(tuple(files), truth, len(events))


def write_lists(inbox: Path, truths: list[Path]) -> list[Path]:
    """Write the population, the theme list, and what people made of the texts, to the inbox."""
    import yaml

    inbox.mkdir(parents=True, exist_ok=True)
    population, themes, checks = inbox / "bevolking.csv", inbox / "themas.yaml", inbox / "controle.csv"
    with population.open("w", encoding="utf-8", newline="") as target:
        lines = csv.writer(target, delimiter=";", quoting=csv.QUOTE_ALL, lineterminator="\n")
        lines.writerow(["Geslacht", "Leeftijd", "Regio's", "Perioden", "Bevolking op 1 januari (aantal)"])
        for place, total in zip(MUNICIPALITIES, POPULATION_OF, strict=True):
            lines.writerow(["Totaal mannen en vrouwen", "Totaal", place, "2024", total])
            for sex in ("Mannen", "Vrouwen"):
                lines.writerows(
                    [sex, b, place, "2024", round(total * s / 2)]
                    for b, s in zip(BANDS, OF_POPULATION, strict=True)
                )
    listed = {"themas": {theme: words.examples(theme) for theme in words.THEMES}}
    themes.write_text(yaml.safe_dump(listed, allow_unicode=True, sort_keys=False), encoding="utf-8")
    read = [pd.read_csv(t / "ideeen.csv", dtype="str").assign(gesprek=t.name, soort="idee") for t in truths]
    every = pd.concat([r for r in read if len(r)]).rename(columns={"idee": "tekst_id"})
    every[["gesprek", "soort", "tekst_id", "thema"]].to_csv(checks, index=False)
    return [population, themes, checks]


# -- People and what they think ------------------------------------------------------------------------------


def _people(rng: np.random.Generator, scenario: Scenario) -> pd.DataFrame:
    """Citizens with their group and demography; then trolls, then campaigners."""
    number = scenario.participants + scenario.trolls + scenario.flood
    roles = ["burger"] * scenario.participants + ["trol"] * scenario.trolls + ["campagne"] * scenario.flood
    band = rng.choice(len(AGES), number, p=OF_PARTICIPANTS)
    age = [str(rng.integers(AGES[b][0], AGES[b][1] + 1)) if rng.random() > 0.15 else "" for b in band]
    sizes = np.array([0.5, 0.3, 0.2, 0.15, 0.1])[: scenario.groups]
    group = rng.choice(scenario.groups, number, p=sizes / sizes.sum())
    place = rng.choice(MUNICIPALITIES, number, p=(0.6, 0.15, 0.1, 0.06, 0.05, 0.04))
    sex = rng.choice(["man", "vrouw", ""], number, p=(0.52, 0.43, 0.05))
    people = pd.DataFrame(
        {
            "deelnemer": np.arange(number),
            "rol": roles,
            "groep": group,
            "leeftijd": age,
            "geslacht": sex,
            "gemeente": place,
        }
    )
    people["groep"] = people["groep"].where((people["rol"] == "burger") & (scenario.kind == "groepen"), -1)
    return people


def _statements(rng: np.random.Generator, scenario: Scenario) -> pd.DataFrame:
    """Statements with their theme, moderation and whether all groups agree; no two with the same words."""
    seen: dict[str, str] = {}
    while len(seen) < scenario.statements:
        theme = list(words.THEMES)[rng.integers(len(words.THEMES))]
        text = words.sentence(rng, theme)
        seen.setdefault(text if len(seen) < 400 else f"{text} ({len(seen)})", theme)
    number = scenario.statements
    statements = pd.DataFrame(
        {"stelling": np.arange(number), "tekst": list(seen), "thema": list(seen.values())}
    )
    statements["moderatie"] = rng.choice([1, 0, -1], number, p=(0.85, 0.1, 0.05))
    statements["is_consensus"] = np.arange(number) % 10 == 3
    statements.loc[statements["is_consensus"], "moderatie"] = 1
    return statements


def _votes(
    rng: np.random.Generator, scenario: Scenario, people: pd.DataFrame, statements: pd.DataFrame
) -> pd.DataFrame:
    """The citizens' votes: who votes on what, and what for.

    A vote follows from an opinion (that of the group, or the place on the axis, plus noise): above 0.4 agree,
    below -0.4 disagree, pass in between. How many statements somebody votes on differs much.
    """
    n, m = scenario.participants, scenario.statements
    zeal = (
        rng.beta(1.5, 1.5 / scenario.density - 1.5, n)
        if scenario.density < 0.9
        else np.full(n, scenario.density)
    )
    person, statement = np.nonzero(rng.random((n, m)) < zeal[:, None])
    popularity = rng.normal(0.1, 0.6, m)
    popularity[statements["is_consensus"]] = 2.0
    matters = np.where(statements["is_consensus"], 0.0, 1.0)
    opinion = popularity[statement] + rng.standard_normal(len(person))
    if scenario.kind == "groepen":
        of_group = rng.standard_normal((scenario.groups, m)) * scenario.strength * matters
        opinion += of_group[people["groep"].to_numpy()[person], statement]
    elif scenario.kind == "as":
        loading = rng.uniform(-1, 1, m) * scenario.strength * matters
        opinion += rng.standard_normal(n)[person] * loading[statement]
    value = np.where(opinion > 0.4, 1, np.where(opinion < -0.4, -1, 0))
    return pd.DataFrame({"deelnemer": person, "stelling": statement, "stem": value, "uur": -1})


def _with_steering(
    rng: np.random.Generator,
    scenario: Scenario,
    people: pd.DataFrame,
    statements: pd.DataFrame,
    votes: pd.DataFrame,
) -> pd.DataFrame:
    """Add trolls, who all vote the same on the same statements, and a flood on one statement in one hour."""
    parts = [votes]
    kept = statements.loc[(statements["moderatie"] == 1) & ~statements["is_consensus"], "stelling"].to_numpy()
    trolls = people.loc[people["rol"] == "trol", "deelnemer"].to_numpy()
    if len(trolls):
        chosen = rng.choice(kept[1:], min(25, len(kept) - 1), replace=False)
        choice = rng.choice([1, -1], len(chosen))
        parts.append(
            pd.DataFrame(
                {
                    "deelnemer": np.repeat(trolls, len(chosen)),
                    "stelling": np.tile(chosen, len(trolls)),
                    "stem": np.tile(choice, len(trolls)),
                    "uur": -1,
                }
            )
        )
    campaign = people.loc[people["rol"] == "campagne", "deelnemer"].to_numpy()
    if len(campaign):
        parts.append(pd.DataFrame({"deelnemer": campaign, "stelling": kept[0], "stem": 1, "uur": 100}))
    return pd.concat(parts, ignore_index=True)


# -- What happens to votes on their way ----------------------------------------------------------------------


def _events(rng: np.random.Generator, votes: pd.DataFrame, last_day: date, days: int) -> pd.DataFrame:
    """The log of votes in milliseconds: each once, some repeated or changed later, a few written twice."""
    start = (
        int(datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC).timestamp() * 1000)
        - (days - 1) * 86_400_000
    )
    span = days * 86_400_000 - 3_600_000
    # A day of somebody, and votes some seconds apart.
    begins = rng.integers(0, span, votes["deelnemer"].max() + 1)
    moment = start + np.minimum(begins[votes["deelnemer"]] + rng.integers(0, 1_800_000, len(votes)), span)
    flooded = votes["uur"].to_numpy() >= 0
    hour = (start + span // 2) // 3_600_000 * 3_600_000
    moment = np.where(flooded, hour + rng.integers(0, 3_500_000, len(votes)), moment)
    # Two votes on the way of every repeat stay more than a second apart: the order is never in doubt.
    first = pd.DataFrame(
        {
            "timestamp": moment,
            "deelnemer": votes["deelnemer"],
            "stelling": votes["stelling"],
            "stem": votes["stem"],
        }
    )
    again = first.sample(frac=0.008, random_state=int(rng.integers(2**31))).copy()
    again["timestamp"] += rng.integers(2_000, 90_000, len(again))
    changed = rng.random(len(again)) < 0.1
    again["stem"] = np.where(changed, -again["stem"], again["stem"])
    double = first.sample(min(3, len(first)), random_state=int(rng.integers(2**31)))
    return pd.concat([first, again, double], ignore_index=True).sort_values(
        ["stelling", "deelnemer"], kind="stable", ignore_index=True
    )


def _last(events: pd.DataFrame) -> pd.DataFrame:
    """The last vote of each person on each statement."""
    ordered = events.sort_values("timestamp", kind="stable")
    return ordered.drop_duplicates(["deelnemer", "stelling"], keep="last")


def _ideas(rng: np.random.Generator, scenario: Scenario, people: pd.DataFrame) -> pd.DataFrame:
    """Ideas with their theme and what personal data stand in them."""
    rows = []
    citizens = people.loc[people["rol"] == "burger", "deelnemer"].to_numpy()
    for number in range(scenario.ideas):
        theme = list(words.THEMES)[rng.integers(len(words.THEMES))]
        text, kind, value = words.sentence(rng, theme), "", ""
        if rng.random() < scenario.planted:
            kind = words.KINDS[rng.integers(len(words.KINDS))]
            more, value = words.planted(rng, kind, mistyped=bool(rng.random() < 0.2))
            text = f"{text} {more}"
        rows.append((number, int(rng.choice(citizens)), text, theme, kind, value))
    return pd.DataFrame(rows, columns=["idee", "deelnemer", "tekst", "thema", "gepland", "waarde"])


# -- Files ---------------------------------------------------------------------------------------------------


def _stamped(moment: npt.NDArray[np.int64]) -> list[str]:
    return [f"{t:%a %b %d %H:%M:%S} UTC {t:%Y}" for t in pd.to_datetime(moment, unit="ms", utc=True)]


def _write_votes(rng: np.random.Generator, folder: Path, events: pd.DataFrame) -> Path:
    file = folder / "votes.csv"
    names = {"stelling": "comment-id", "deelnemer": "voter-id", "stem": "vote"}
    out = events.rename(columns=names).assign(datetime=_stamped(events["timestamp"].to_numpy()))
    out[["timestamp", "datetime", "comment-id", "voter-id", "vote"]].to_csv(
        file, index=False, lineterminator="\n"
    )
    return file


def _write_comments(
    folder: Path, statements: pd.DataFrame, events: pd.DataFrame, last_day: date, days: int
) -> Path:
    """Statements with counts of agreement over all events, repeats too, as Polis counts."""
    file = folder / "comments.csv"
    start = (
        int(datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC).timestamp() * 1000)
        - days * 86_400_000
    )
    moment = start + statements["stelling"].to_numpy() * 60_000

    def counted(value: int) -> list[int]:
        number = events[events["stem"] == value].groupby("stelling").size()
        return [int(n) for n in number.reindex(statements["stelling"]).fillna(0)]

    out = pd.DataFrame(
        {
            "timestamp": moment,
            "datetime": _stamped(moment),
            "comment-id": statements["stelling"],
            "author-id": statements["stelling"] % 7,
            "agrees": counted(1),
            "disagrees": counted(-1),
            "moderated": statements["moderatie"],
            "comment-body": statements["tekst"],
        }
    )
    out.to_csv(file, index=False, lineterminator="\n")
    return file


def _write_matrix(folder: Path, statements: pd.DataFrame, people: pd.DataFrame, events: pd.DataFrame) -> Path:
    file = folder / "participants-votes.csv"
    last = _last(events)
    cells = np.full((len(people), len(statements)), "", dtype="U2")
    cells[last["deelnemer"], last["stelling"]] = last["stem"].astype("str")
    votes = (cells != "").sum(axis=1)
    with file.open("w", encoding="utf-8", newline="") as target:
        lines = csv.writer(target, lineterminator="\n")
        lines.writerow(
            [
                "participant",
                "group-id",
                "n-comments",
                "n-votes",
                "n-agree",
                "n-disagree",
                *statements["stelling"],
            ]
        )
        for person in np.flatnonzero(votes):
            row = cells[person]
            lines.writerow([person, "", 0, votes[person], (row == "1").sum(), (row == "-1").sum(), *row])
    return file


def _write_summary(folder: Path, statements: pd.DataFrame, people: pd.DataFrame) -> Path:
    file = folder / "summary.csv"
    title = folder.name[0].upper() + folder.name[1:]
    facts = {
        "topic": title,
        "voters": len(people),
        "comments": len(statements),
        "conversation-description": "",
    }
    file.write_text("".join(f"{k},{v}\n" for k, v in facts.items()), encoding="utf-8")
    return file


def _write_people(folder: Path, people: pd.DataFrame) -> Path:
    file = folder / "deelnemers.csv"
    people[["deelnemer", "leeftijd", "geslacht", "gemeente"]].to_csv(file, index=False, lineterminator="\n")
    return file


def _write_ideas(
    rng: np.random.Generator, folder: Path, ideas: pd.DataFrame, last_day: date, days: int
) -> list[Path]:
    """Ideas with an outcome for most, and a reaction to some."""
    states = ["", "in behandeling", "overgenomen", "deels overgenomen", "afgewezen", "uitgevoerd"]
    status = rng.choice(states, len(ideas), p=(0.25, 0.1, 0.2, 0.15, 0.25, 0.05))
    first = datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC) - timedelta(days=days - 1)
    made = [first + timedelta(minutes=int(i)) for i in rng.integers(0, (days - 1) * 1440, len(ideas))]
    wait = rng.integers(1, 40, len(ideas))
    answered = [
        f"{m + timedelta(days=int(w)):%Y-%m-%d %H:%M:%S}" if s not in ("", "in behandeling") else ""
        for m, w, s in zip(made, wait, status, strict=True)
    ]
    out = ideas[["idee", "deelnemer", "tekst"]].assign(
        tijd=[f"{m:%Y-%m-%d %H:%M:%S}" for m in made],
        status=status,
        beantwoord_op=answered,
        steun=rng.poisson(4, len(ideas)),
    )
    out.to_csv(folder / "ideeen.csv", index=False, lineterminator="\n")
    chosen = ideas.iloc[: len(ideas) // 5]
    replies = pd.DataFrame(
        {
            "reactie": np.arange(len(chosen)),
            "idee": chosen["idee"],
            "deelnemer": rng.choice(ideas["deelnemer"], len(chosen)),
            "tekst": [f"Mee eens. {words.sentence(rng, t)}" for t in chosen["thema"]],
            "tijd": [f"{m:%Y-%m-%d %H:%M:%S}" for m in made[: len(chosen)]],
        }
    )
    replies.to_csv(folder / "reacties.csv", index=False, lineterminator="\n")
    return [folder / "ideeen.csv", folder / "reacties.csv"]
