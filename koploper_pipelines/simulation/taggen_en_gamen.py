"""Taggen en Gamen: simulated Zooniverse exports of a game, and what is really to be seen on the photographs.

Here belongs the world of the game: photographs with a subject, a place and a direction, some harder than
others; players of different skill and habit who come in sessions and drop out; and the files that the game's
system would deliver. Here does not belong: any reading or cleaning of the export.

Sources. The layout is that of Zooniverse's classification export (panoptes ``classification.rb``; the public
samples of zooniverse/Data-digging); the shares of repeats, empty answers and expert records are near those of
these samples, the inequality between players near that of public label sets (Gini .5 to .8). Place and
direction have no public set with truth: spread 60 m with gross misses, von Mises with concentration 8, junk
and flips, as chosen here.

Truth files (Parquet, in ``truth``):

* ``items``: one row a photograph: subject, what is to be seen (JSON), tags (JSON), place in RD metres,
  direction in compass degrees, difficulty, whether experts labelled it;
* ``spelers``: one row a player: name in the export, kind, skill;
* ``records``: one row a record of the export: its number in the file, id, player, item and the planted fault.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

from koploper_pipelines.simulation import Simulated

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ZONE = ZoneInfo("Europe/Amsterdam")
WORKFLOW, WORKFLOW_NAME = "23145", "Luchtfoto's van de provincie"
SUBJECTS = ("bebouwing", "industrie", "kerk", "landbouw", "molen", "water")
SEEN = ("boom", "boot", "brug", "sloot", "spoor", "weg")
SEEN_SHARE = (0.7, 0.1, 0.2, 0.4, 0.1, 0.8)
# What people type for a subject, in the forms that they type.
TAGS = {
    "bebouwing": ("huizen", "huis", "straat", "straten", "daken", "dorp"),
    "industrie": ("fabriek", "fabrieken", "schoorsteen", "schoorstenen", "loodsen"),
    "kerk": ("kerk", "Kerken", "toren", "kerkhof"),
    "landbouw": ("akkers", "akker", "weiland", "weilanden", "koeien", "boerderij"),
    "molen": ("molen", "molens", "Molen!", "wieken"),
    "water": ("rivier", "plas", "plassen", "boten", "oever"),
}
TABOO = ("foto", "luchtfoto")
QUESTIONS = ("hoofdonderwerp", "zichtbaar", "tags", "standpunt")

KINDS = ("zorgvuldig", "haastig", "gokker", "jaknikker", "bot")
KIND_SHARE = (0.50, 0.30, 0.08, 0.08, 0.04)
SKILL = (0.90, 0.72, 1 / len(SUBJECTS), 0.0, 0.0)
SECONDS = (24.0, 9.0, 5.0, 7.0, 0.4)
SPREAD_M = 60.0
CONCENTRATION = 8.0
MISS_SHARE, JUNK_SHARE, FLIP_SHARE = 0.20, 0.15, 0.10
MAP_PX, M_PER_PX = 1000, 10.0

PER_ITEM = 7
PLAYERS = 70
RECORDS = 1400
ANONYMOUS_SHARE = 0.25
TURNS_A_SESSION = 14
GOLD_SHARE = 0.5
EXPERT_SHARE = 0.10
REPEAT_SHARE = 0.012
FIRST_ID = 310_000_000
FIRST_SUBJECT = 88_000_000
FAULTS = {
    "json_afgebroken": 0.003,
    "dubbel_id": 0.004,
    "duur_negatief": 0.003,
    "leeg": 0.010,
    "buiten_beeld": 0.006,
    "merk_als_tekst": 0.003,
    "taak_onbekend": 0.002,
}
DEMO_SEED = 2026
COLUMNS = (
    "classification_id", "user_name", "user_id", "user_ip", "workflow_id", "workflow_name",
    "workflow_version", "created_at", "gold_standard", "expert", "metadata", "annotations", "subject_data",
    "subject_ids",
)  # fmt: skip


@dataclass(frozen=True)
class _Game:
    """The photographs and the players."""

    items: pd.DataFrame
    players: pd.DataFrame


def simulate(
    inbox: Path,
    truth: Path,
    *,
    last_day: date,
    days: int,
    participants: int | None = None,
    rows: int | None = None,
    seed: int,
) -> Simulated:
    """Write a Zooniverse export, its configuration and experts' labels to `inbox`, the truth to `truth`.

    The same arguments give the same bytes.

    Args:
        inbox: folder for the files.
        truth: folder for the Parquet files, outside `inbox`.
        last_day: last day of play (Europe/Amsterdam).
        days: number of days of play.
        participants: number of players.
        rows: number of records; seven judgements a photograph, so a seventh as many photographs.
        seed: seed of all randomness.

    Raises:
        ValueError: if `truth` lies inside `inbox`, a number is not positive, or there are fewer players than
            judgements a photograph.
    """
    if truth.resolve().is_relative_to(inbox.resolve()):
        raise ValueError("the truth must not lie in the inbox")
    number = PLAYERS if participants is None else participants
    records = RECORDS if rows is None else rows
    if min(days, number, records) < 1:
        raise ValueError("days, participants and rows must be positive")
    if number < PER_ITEM:
        raise ValueError(f"participants must be at least {PER_ITEM}: so many judge each photograph")
    rng = np.random.default_rng(seed)
    game = _game(rng, max(1, records // PER_ITEM), number)
    turns = _turns(rng, game, last_day, days, records)
    return _write(rng, game, turns, inbox, truth)


def demo(inbox: Path, folder: Path, *, first: date, last: date, now: datetime) -> Simulated:
    """Write to `inbox` what was played before the day of `now`; the truth goes below `folder`."""
    rng = np.random.default_rng(DEMO_SEED)
    game = _game(rng, RECORDS // PER_ITEM, PLAYERS)
    turns = _turns(rng, game, last, (last - first).days + 1, RECORDS)
    before = datetime.combine(now.astimezone(ZONE).date(), time(), ZONE)
    played = turns[turns["einde"] < before].reset_index(drop=True)
    return _write(rng, game, played, inbox, folder / f"seed-{DEMO_SEED}")


# -- The world -----------------------------------------------------------------------------------------------


def _game(rng: np.random.Generator, items: int, players: int) -> _Game:
    subject = rng.choice(SUBJECTS, items, p=(0.30, 0.10, 0.12, 0.26, 0.08, 0.14))
    seen = rng.random((items, len(SEEN))) < SEEN_SHARE
    photographs = pd.DataFrame(
        {
            "item": [str(FIRST_SUBJECT + i) for i in range(items)],
            "hoofdonderwerp": subject,
            "zichtbaar": [json.dumps([n for n, s in zip(SEEN, row, strict=True) if s]) for row in seen],
            "rd_x_m": rng.uniform(115_000, 165_000, items),
            "rd_y_m": rng.uniform(435_000, 480_000, items),
            "richting_graden": rng.uniform(0, 360, items),
            "moeilijkheid": rng.beta(2, 6, items),
            "heeft_goud": rng.random(items) < GOLD_SHARE,
        }
    )
    # The place lies somewhere on the map that is shown with the photograph, not in its middle.
    half = MAP_PX * M_PER_PX / 2
    photographs["links_m"] = np.round(photographs["rd_x_m"] - half + rng.uniform(-2000, 2000, items))
    photographs["boven_m"] = np.round(photographs["rd_y_m"] + half + rng.uniform(-2000, 2000, items))
    kind = rng.choice(len(KINDS), players, p=KIND_SHARE)
    # A few players of each kind at least, so that every habit is there.
    kind[: len(KINDS)] = np.arange(len(KINDS))
    anonymous = rng.random(players) < ANONYMOUS_SHARE
    hashes = [
        hashlib.sha256(f"{i}|{rng.integers(1 << 60)}".encode()).hexdigest()[:20] for i in range(players)
    ]
    names = [
        f"not-logged-in-{h}" if a else f"speler_{i:04d}"
        for i, (a, h) in enumerate(zip(anonymous, hashes, strict=True))
    ]
    people = pd.DataFrame(
        {
            "speler": names,
            "user_id": ["" if a else str(1_000_000 + i) for i, a in enumerate(anonymous)],
            "user_ip": hashes,
            "soort": [KINDS[k] for k in kind],
            "code": kind,
            "vaardigheid": np.clip(rng.normal(np.array(SKILL)[kind], 0.04), 0, 0.99),
            "ijver": rng.lognormal(0, 1.0, players),
        }
    )
    return _Game(photographs, people)


def _turns(rng: np.random.Generator, game: _Game, last_day: date, days: int, records: int) -> pd.DataFrame:
    """Who judges which photograph when: sessions of players who come, go on and stop."""
    people = game.players
    number = _shared_out(rng, records, people["ijver"].to_numpy(float), len(game.items))
    start = datetime.combine(last_day - timedelta(days=days - 1), time(), ZONE).timestamp()
    pieces = [
        (*_sessions(rng, int(n), float(SECONDS[code]), start, days), np.full(int(n), player))
        for player, (n, code) in enumerate(zip(number, people["code"], strict=True))
        if n
    ]
    begin, lasted, player = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    order = np.argsort(begin + lasted, kind="stable")
    turns = pd.DataFrame(
        {"begin_s": begin[order], "duur_s": lasted[order], "speler": player[order].astype(int)}
    )
    turns["item"] = _dealt(rng, turns["speler"].to_numpy(), len(game.items))
    end_ms = np.round(1000 * (turns["begin_s"] + turns["duur_s"])).astype(np.int64)
    turns["einde"] = pd.to_datetime(end_ms, unit="ms", utc=True)
    return turns


def _shared_out(rng: np.random.Generator, records: int, zeal: Floats, most: int) -> Ints:
    """Turns of each player, by their zeal, none more than there are photographs."""
    number = np.zeros(len(zeal), dtype=np.int64)
    while (left := min(records, most * len(zeal)) - int(number.sum())) > 0:
        free = np.where(number < most, zeal, 0.0)
        number = np.minimum(number + rng.multinomial(left, free / free.sum()), most)
    return number


def _sessions(
    rng: np.random.Generator, number: int, seconds: float, start: float, days: int
) -> tuple[Floats, Floats]:
    """Begin (seconds since 1970) and duration of a player's turns."""
    lasted = rng.lognormal(np.log(seconds), 0.35, number)
    session = np.arange(number) // TURNS_A_SESSION
    gaps = rng.exponential(4.0, session[-1] + 1)
    first = rng.uniform(0, 0.75 * days)
    day = np.floor(np.minimum(first + np.r_[0, np.cumsum(gaps[1:])], days - 1))
    hour = np.clip(rng.normal(20, 2.5, session[-1] + 1), 8, 22.4)
    # Two sessions on one day follow each other.
    opening = start + 86_400 * day + 3600 * hour
    for i in range(1, len(opening)):
        opening[i] = max(opening[i], opening[i - 1] + TURNS_A_SESSION * seconds * 3 + 2400)
    opening = np.minimum(opening, start + 86_400 * days - 3600 + 10 * np.arange(len(opening)))
    within = np.zeros(number)
    for s in range(session[-1] + 1):
        own = session == s
        within[own] = np.r_[0, np.cumsum(lasted[own] + rng.uniform(1, 4, own.sum()))[:-1]]
    return opening[session] + within, lasted


def _dealt(rng: np.random.Generator, player: Ints, items: int) -> Ints:
    """The photograph of each turn: all once, then all again, none twice to a player while others are left."""
    done: dict[int, set[int]] = {}
    waiting: list[int] = []
    dealt = np.empty(len(player), dtype=np.int64)
    for turn, who in enumerate(player.tolist()):
        own = done.setdefault(who, set())
        if own and rng.random() < REPEAT_SHARE:
            # Shown again, as happens in every live game.
            dealt[turn] = rng.choice(sorted(own))
            continue
        place = next((i for i, item in enumerate(waiting) if item not in own), None)
        if place is None:
            waiting += rng.permutation(items).tolist()
            place = next(i for i, item in enumerate(waiting) if item not in own or len(own) >= items)
        dealt[turn] = waiting.pop(place)
        own.add(int(dealt[turn]))
    return dealt


# -- Answers -------------------------------------------------------------------------------------------------


def _answers(rng: np.random.Generator, game: _Game, turn: Any, fault: str | None) -> list[dict[str, Any]]:
    """The annotations of one turn."""
    item, person = game.items.iloc[turn.item], game.players.iloc[turn.speler]
    sure = person["vaardigheid"] * (1 - 0.6 * item["moeilijkheid"])
    yes, bot = person["soort"] == "jaknikker", person["soort"] == "bot"
    if yes or bot:
        subject = SUBJECTS[0]
    else:
        knows = rng.random() < sure or rng.random() < 1 / len(SUBJECTS)
        subject = item["hoofdonderwerp"] if knows else str(rng.choice(SUBJECTS))
    truly = set(json.loads(item["zichtbaar"]))
    right = max(sure, 0.5)
    seen = [n for n in SEEN if yes or (not bot and (rng.random() < right) == (n in truly))]
    tags = "" if bot else ", ".join(_typed(rng, str(subject)))
    annotations: list[dict[str, Any]] = [
        {
            "task": "T0",
            "task_label": "Wat is het hoofdonderwerp?",
            "value": None if fault == "leeg" else subject,
        },
        {"task": "T1", "task_label": "Wat is er te zien?", "value": seen},
        {"task": "T2", "task_label": "Beschrijf de foto", "value": tags},
        {"task": "T3", "task_label": "Waar vloog het vliegtuig?", "value": [_mark(rng, item, bot, fault)]},
    ]
    if fault == "taak_onbekend":
        annotations.append({"task": "T9", "value": "ja"})
    return annotations


def _typed(rng: np.random.Generator, subject: str) -> list[str]:
    words = list(rng.choice(TAGS[subject], size=int(rng.integers(1, 3)), replace=False))
    return words + (["foto"] if rng.random() < 0.05 else [])


def _mark(rng: np.random.Generator, item: Any, bot: bool, fault: str | None) -> dict[str, Any]:
    x = (item["rd_x_m"] - item["links_m"]) / M_PER_PX
    y = (item["boven_m"] - item["rd_y_m"]) / M_PER_PX
    x, y = (v + rng.normal(0, SPREAD_M / M_PER_PX) for v in (x, y))
    if rng.random() < MISS_SHARE:
        x, y = rng.uniform(0, MAP_PX, 2)
    draw = rng.random()
    angle = item["richting_graden"] + np.degrees(rng.vonmises(0, CONCENTRATION))
    if draw < JUNK_SHARE:
        angle = rng.uniform(0, 360)
    elif draw < JUNK_SHARE + FLIP_SHARE:
        angle += 180
    if bot:
        x, y, angle = MAP_PX / 2, MAP_PX / 2, 90.0
    if fault == "buiten_beeld":
        x = MAP_PX + 40.0
    # A mark with rotation 0 points to the right, which on a map is east.
    mark: dict[str, Any] = {
        "x": round(float(x), 2),
        "y": round(float(y), 2),
        "tool": 0,
        "frame": 0,
        "radius": 60.0,
        "spread": 40.0,
        "rotation": round(float((angle - 90 + 180) % 360 - 180), 2),
        "details": [],
        "toolType": "fan",
    }
    return mark | ({"x": "midden", "y": "onder"} if fault == "merk_als_tekst" else {})


# -- The files -----------------------------------------------------------------------------------------------


def _write(rng: np.random.Generator, game: _Game, turns: pd.DataFrame, inbox: Path, truth: Path) -> Simulated:
    faults = _faults(rng, len(turns))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    told: list[dict[str, Any]] = []
    for number, turn in enumerate(turns.itertuples()):
        record = _record(rng, game, turn, number, faults[number])
        for again in range(2 if faults[number] == "dubbel_id" else 1):
            writer.writerow(record)
            told.append(
                {
                    "rij": len(told) + 1,
                    "classification_id": record[0],
                    "speler": record[1],
                    "item": record[-1],
                    "fout": faults[number] if faults[number] != "dubbel_id" or again else None,
                }
            )
    for number, item in enumerate(game.items[game.items["heeft_goud"]].itertuples()):
        if rng.random() < EXPERT_SHARE:
            record = _expert_record(item, FIRST_ID + len(turns) + number, turns["einde"].max())
            writer.writerow(record)
            told.append(
                {
                    "rij": len(told) + 1,
                    "classification_id": record[0],
                    "speler": record[1],
                    "item": record[-1],
                    "fout": None,
                }
            )
    truth.mkdir(parents=True, exist_ok=True)
    inbox.mkdir(parents=True, exist_ok=True)
    game.items.assign(tags=[json.dumps(TAGS[s]) for s in game.items["hoofdonderwerp"]]).to_parquet(
        truth / "items.parquet"
    )
    game.players[["speler", "soort", "vaardigheid"]].to_parquet(truth / "spelers.parquet")
    pd.DataFrame(told).to_parquet(truth / "records.parquet")
    files = (
        _file(
            inbox / "luchtfotos.yaml", yaml.safe_dump(_configuration(), allow_unicode=True, sort_keys=False)
        ),
        _file(inbox / "hoofdonderwerp.gold.csv", _gold(game)),
        _file(inbox / "luchtfotos-classifications.csv", text.getvalue()),
    )
    return Simulated(files, truth, len(told))


def _faults(rng: np.random.Generator, number: int) -> list[str | None]:
    shares = np.array(list(FAULTS.values()))
    drawn = rng.choice(len(FAULTS) + 1, number, p=[*shares, 1 - shares.sum()])
    # One of each at least, where there is room.
    if number >= 20 * len(FAULTS):
        drawn[rng.choice(number, len(FAULTS), replace=False)] = np.arange(len(FAULTS))
    names = [*FAULTS, None]
    return [names[d] for d in drawn]


def _record(rng: np.random.Generator, game: _Game, turn: Any, number: int, fault: str | None) -> list[str]:
    person, item = game.players.iloc[turn.speler], game.items.iloc[turn.item]
    begin = datetime.fromtimestamp(turn.begin_s, UTC)
    end = turn.einde.to_pydatetime()
    started, finished = (end, begin) if fault == "duur_negatief" else (begin, end)
    annotations = json.dumps(_answers(rng, game, turn, fault), ensure_ascii=False, separators=(",", ":"))
    if fault == "json_afgebroken":
        annotations = annotations[: len(annotations) // 2]
    version = "12.7" if turn.Index > 0.3 * len(game.items) * PER_ITEM else "12.3"
    return [
        str(FIRST_ID + number),
        person["speler"],
        person["user_id"],
        person["user_ip"],
        WORKFLOW,
        WORKFLOW_NAME,
        version,
        f"{end:%Y-%m-%d %H:%M:%S} UTC",
        "",
        "",
        _metadata(started, finished),
        annotations,
        _subject(item),
        item["item"],
    ]


def _expert_record(item: Any, number: int, moment: pd.Timestamp) -> list[str]:
    annotations = [
        {"task": "T0", "value": item.hoofdonderwerp},
        {"task": "T1", "value": json.loads(item.zichtbaar)},
    ]
    return [
        str(number),
        "deskundige_1",
        "1",
        "",
        WORKFLOW,
        WORKFLOW_NAME,
        "12.7",
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        "True",
        "expert",
        _metadata(moment - timedelta(seconds=60), moment),
        json.dumps(annotations, ensure_ascii=False, separators=(",", ":")),
        _subject(item._asdict()),
        item.item,
    ]


def _metadata(started: datetime, finished: datetime) -> str:
    said = {
        "source": "api",
        "started_at": _iso(started),
        "finished_at": _iso(finished),
        "utc_offset": "-3600",
        "user_language": "nl",
        "subject_dimensions": [
            {"clientWidth": 700, "clientHeight": 700, "naturalWidth": MAP_PX, "naturalHeight": MAP_PX}
        ],
    }
    return json.dumps(said, separators=(",", ":"))


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _subject(item: Any) -> str:
    about = {
        "retired": None,
        "bestand": f"luchtfoto_{item['item']}.jpg",
        "rd_links_m": item["links_m"],
        "rd_boven_m": item["boven_m"],
        "m_per_pixel": M_PER_PX,
    }
    return json.dumps({item["item"]: about}, separators=(",", ":"))


def _configuration() -> dict[str, Any]:
    on_map = {"links": "rd_links_m", "boven": "rd_boven_m", "m_per_pixel": "m_per_pixel"}
    subject, seen, tags, place = QUESTIONS
    return {
        "groep": WORKFLOW,
        "vragen": [
            {"taak": "T0", "vraag": subject, "soort": "enkel", "keuzes": list(SUBJECTS)},
            {"taak": "T1", "vraag": seen, "soort": "meerdere", "keuzes": list(SEEN)},
            {"taak": "T2", "vraag": tags, "soort": "vrij", "taboe": list(TABOO)},
            {"taak": "T3", "vraag": place, "soort": "waaier", "kaart": on_map},
        ],
    }


def _gold(game: _Game) -> str:
    gold = game.items[game.items["heeft_goud"]]
    rows = zip(gold["item"], gold["hoofdonderwerp"], strict=True)
    return "task,label\n" + "".join(f"{item},{label}\n" for item, label in rows)


def _file(path: Path, text: str) -> Path:
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    return unfinished.rename(path)
