"""Cleaning: which answers count as judgements, which are set aside, and what is odd about those that stay.

Belongs here: one reason for each answer that cannot be used, and marks (with a weight) for those that can but
are suspect: they are not dropped in silence, the methods weigh them. Does not belong here: reading
(``exports``, ``answers``) and deciding on labels (``consensus``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from koploper_pipelines.methods.taggen_en_gamen import answers as notation
from koploper_pipelines.methods.taggen_en_gamen.answers import FREE, MULTIPLE, PLACED, SINGLE
from koploper_pipelines.methods.taggen_en_gamen.exports import PLAIN

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

COLUMNS = (
    "vraag", "item", "speler", "nummer", "soort", "beurt", "tijd", "duur_s", "label", "labels", "tekst",
    "x_px", "y_px", "rd_x_m", "rd_y_m", "richting_graden", "is_anoniem", "is_deskundige", "is_leeg",
    "is_geannuleerd", "is_training", "is_buiten_beeld", "is_taboe", "is_te_snel", "is_eentonig",
    "is_duur_onmogelijk", "gewicht", "volgorde",
)  # fmt: skip


@dataclass(frozen=True)
class CleaningRules:
    """What is too fast, too long and too much the same.

    Attributes:
        min_duration_s: a turn that took less is too fast to have been looked at.
        max_duration_s: a longer duration says nothing: the window stayed open.
        series_judgements: fewest judgements of a player on a question to be called monotonous.
        series_chance: largest chance, from what others say of the same items, that somebody who looks gives
            the same answer throughout.
        fast_weight: weight of a judgement that was too fast.
        monotonous_weight: weight of a judgement in a monotonous series.
    """

    min_duration_s: float = 1.0
    max_duration_s: float = 3600.0
    series_judgements: int = 20
    series_chance: float = 1e-6
    fast_weight: float = 0.5
    monotonous_weight: float = 0.25


@dataclass(frozen=True)
class Judged:
    """What became of the answers.

    Attributes:
        kept: the judgements, ``COLUMNS``; ``volgorde`` numbers them in the order of time.
        set_aside: the answers set aside: ``bestand``, ``rij``, ``vraag``, ``item``, ``speler``, ``nummer``,
            ``label``, ``labels``, ``tijd``, ``reden`` and ``toelichting``.
        more: how many answers there are more than records, counted before they were judged.
    """

    kept: pd.DataFrame
    set_aside: pd.DataFrame
    more: int


def judge(records: pd.DataFrame, questions: pd.DataFrame, rules: CleaningRules = CleaningRules()) -> Judged:
    """Judge every answer: kept with its marks and weight, or set aside with one reason.

    Args:
        records: columns of ``exports.COLUMNS`` besides ``bestand`` (of the file) and ``geland_op``; unique
            index.
        questions: ``answers.QUESTION_COLUMNS``.
        rules: the limits.
    """
    unpacked = notation.unpack(records)
    made = notation.labels_of(notation.with_questions(unpacked, records, questions))
    about = _about(records)
    rows = made.join(about, on="record")
    rows["reden"] = _reasons(rows)
    rows["reden"] = _copies(rows)
    rows["reden"] = _repeats(rows)
    is_kept = rows["reden"].isna().to_numpy()
    kept = _marked(rows[is_kept].reset_index(drop=True), records, rules)
    more = len(unpacked) - unpacked["record"].nunique()
    return Judged(kept[list(COLUMNS)], _set_aside(rows[~is_kept]), more)


def moments(text: pd.Series) -> pd.Series:
    """Moments in UTC; missing where the text is none. Seconds since 1970 are moments too."""
    plain = text.astype("str").str.strip().str.removesuffix(" UTC")
    found = pd.to_datetime(plain, utc=True, format="ISO8601", errors="coerce").astype("datetime64[us, UTC]")
    is_epoch = plain.str.fullmatch(r"\d{9,10}(\.\d+)?")
    if is_epoch.any():
        seconds = pd.to_datetime(plain[is_epoch].astype("float64"), unit="s", utc=True)
        found = found.copy()
        found.loc[is_epoch] = seconds.astype("datetime64[us, UTC]")
    return found.where(
        found.between(pd.Timestamp("2000-01-01", tz="UTC"), pd.Timestamp("2100-01-01", tz="UTC"))
    )


# -- Reasons -----------------------------------------------------------------------------------------------


def _about(records: pd.DataFrame) -> pd.DataFrame:
    """What is known of each record."""
    told = notation.read_metadata(records)
    begun, ended, received = (
        moments(s.fillna("")) for s in (told["begonnen"], told["beeindigd"], records["tijd"])
    )
    given = told["duur_bekend_s"]
    duration = given.where(given.notna(), (ended - begun).dt.total_seconds())
    about = records[
        ["bestand", "rij", "geland_op", "formaat", "versie", "bron_id", "item", "speler", "is_anoniem",
         "is_deskundige", "leesfout"]
    ]  # fmt: skip
    order = pd.DataFrame({"geland_op": records["geland_op"], "bestand": records["bestand"]})
    # Files that land at one moment: the larger is the later export.
    order["rijen"] = records.groupby("bestand")["rij"].transform("size")
    landing = order.groupby(["geland_op", "rijen", "bestand"]).ngroup()
    return about.assign(
        landing=landing,
        tijd=received.where(received.notna(), ended),
        duur_s=duration,
        breedte=told["breedte"],
        hoogte=told["hoogte"],
        is_geannuleerd=told["is_geannuleerd"],
        is_training=told["is_training"],
        is_metadata_leesbaar=told["is_metadata_leesbaar"],
        versie_getal=records["versie"].map(notation.version),
    )


def _reasons(rows: pd.DataFrame) -> pd.Series:
    """The first reason that holds for an answer on its own."""
    has_version = rows["versie"].fillna("") != ""
    no_version = rows["versie_getal"].isna()
    checks = {
        "metadata_onleesbaar": ~rows["is_metadata_leesbaar"],
        "item_ontbreekt": rows["item"].fillna("") == "",
        "speler_ontbreekt": rows["speler"].fillna("onbekend") == "onbekend",
        "versie_onleesbaar": has_version & no_version,
        "andere_versie": _other_version(rows),
        "duur_negatief": rows["duur_s"] < 0,
    }
    reason = rows["reden"].astype(object)
    for name, holds in checks.items():
        reason = reason.mask(reason.isna() & holds.fillna(False).astype(bool), name)
    return reason


def _other_version(rows: pd.DataFrame) -> pd.Series:
    """Whether a record was made with a version of the workflow in which the task asked something else."""
    limited = rows["versie_vanaf"].notna() | rows["versie_tot"].notna()
    outside = pd.Series(False, index=rows.index)
    for label, found, first, last in zip(
        rows.index[limited],
        rows.loc[limited, "versie_getal"],
        rows.loc[limited, "versie_vanaf"].map(notation.version),
        rows.loc[limited, "versie_tot"].map(notation.version),
        strict=True,
    ):
        known = isinstance(found, tuple)
        before = known and isinstance(first, tuple) and found < first
        after = known and isinstance(last, tuple) and found[: len(last)] > last
        outside.loc[label] = not known or before or after
    return outside


def _copies(rows: pd.DataFrame) -> pd.Series:
    """Answers that were delivered again: of one classification the latest export counts.

    Systems give their records an id. In a plain file an answer that is the same to the letter, from another
    file, is the same answer delivered again.
    """
    reason = rows["reden"]
    live = rows[reason.isna()]
    with_id = live[(live["formaat"] != PLAIN) & (live["bron_id"] != "")]
    key = ["formaat", "groep", "bron_id"]
    newest = with_id.groupby(key)["landing"].transform("max")
    reason = _set(reason, with_id.index[with_id["landing"] < newest], "vervangen_door_latere_export")
    with_id = with_id[with_id["landing"] == newest]
    first = with_id.groupby(key)["rij"].transform("min")
    reason = _set(reason, with_id.index[with_id["rij"] > first], "dubbel_id")
    plain = live[live["formaat"] == PLAIN].sort_values(["landing", "rij"], kind="stable")
    same = ["vraag", "item", "speler", "label", "labels", "tijd"]
    is_again = plain.duplicated(same) & (
        plain["landing"] != plain.groupby(same, dropna=False)["landing"].transform("min")
    )
    return _set(reason, plain.index[is_again], "opnieuw_geleverd")


def _repeats(rows: pd.DataFrame) -> pd.Series:
    """Judgements of a player on an item that they judged before: the first counts."""
    reason = rows["reden"]
    live = rows[reason.isna()].sort_values(["tijd", "landing", "rij"], kind="stable", na_position="last")
    # An empty turn or a training turn does not take the place of the real one that follows.
    idle = (live["vorm"] == "leeg") | live["is_geannuleerd"] | live["is_training"]
    live = pd.concat([live[~idle], live[idle]])
    key = ["vraag", "item", "speler", "is_deskundige"]
    first = live.groupby(key)["record"].transform("first")
    return _set(reason, live.index[live["record"] != first], "herhaling")


def _set(reason: pd.Series, where: pd.Index, name: str) -> pd.Series:
    changed = reason.copy()
    changed.loc[where] = name
    return changed


def _set_aside(rows: pd.DataFrame) -> pd.DataFrame:
    said = rows["leesfout"].where(rows["leesfout"].notna(), "taak " + rows["taak"].fillna(""))
    columns = ["bestand", "rij", "vraag", "item", "speler", "nummer", "label", "labels", "tijd", "reden"]
    return rows.assign(toelichting=said)[[*columns, "toelichting"]].reset_index(drop=True)


# -- Marks -------------------------------------------------------------------------------------------------


def _marked(rows: pd.DataFrame, records: pd.DataFrame, rules: CleaningRules) -> pd.DataFrame:
    rows = rows.assign(
        is_leeg=(rows["vorm"] == "leeg") & ~((rows["soort"] == MULTIPLE) & (rows["waarden"] == "[]")),
        is_buiten_beeld=_outside(rows),
        is_taboe=False,
        is_duur_onmogelijk=rows["duur_s"] > rules.max_duration_s,
        x_px=rows["x"],
        y_px=rows["y"],
        richting_graden=_directions(rows),
        beurt=_turns(rows),
        **_places(rows, records),
    )
    # Nothing chosen from a list is an answer: all of it is a no.
    nothing = (rows["soort"] == MULTIPLE) & (rows["waarden"] == "[]") & rows["labels"].isna()
    rows["labels"] = rows["labels"].mask(nothing, "[]")
    rows = _without_taboo(rows)
    rows["is_te_snel"] = _too_fast(rows, rules)
    rows["is_eentonig"] = _monotonous(rows, rules)
    counts = ~(
        rows["is_leeg"]
        | rows["is_geannuleerd"]
        | rows["is_training"]
        | rows["is_buiten_beeld"]
        | rows["is_taboe"]
        | rows["is_deskundige"]
    )
    weight = np.where(rows["is_te_snel"], rules.fast_weight, 1.0)
    weight *= np.where(rows["is_eentonig"], rules.monotonous_weight, 1.0)
    rows["gewicht"] = np.where(counts, weight, 0.0)
    rows["duur_s"] = rows["duur_s"].where(~rows["is_duur_onmogelijk"])
    in_time = rows.sort_values(["tijd", "landing", "rij", "vraag", "nummer"], kind="stable").index
    rows.loc[in_time, "volgorde"] = np.arange(1, len(rows) + 1)
    return rows.astype({"volgorde": "int64"})


def _turns(rows: pd.DataFrame) -> pd.Series:
    """A name for the turn that an answer belongs to: the same however often it is exported."""
    own = rows["formaat"] + ":" + rows["groep"] + ":" + rows["bron_id"]
    plain = rows["formaat"] + ":" + rows["groep"] + ":" + rows["item"] + ":" + rows["speler"]
    named = own.where((rows["formaat"] != PLAIN) & (rows["bron_id"] != ""), plain)
    return named.str.slice(0, 300)


def _outside(rows: pd.DataFrame) -> pd.Series:
    """Whether a mark lies outside its picture; where the size is unknown it does not."""
    beyond = (rows["x"] < 0) | (rows["y"] < 0) | (rows["x"] > rows["breedte"]) | (rows["y"] > rows["hoogte"])
    return beyond.fillna(False).astype(bool)


def _directions(rows: pd.DataFrame) -> pd.Series:
    """Compass degrees: of a mark its angle from the question's zero, of a number that number."""
    zero = rows["richting_nul_graden"].astype("float64").fillna(90.0)
    of_mark = (rows["hoek"] + zero) % 360
    as_number = pd.to_numeric(rows["tekst"].where(rows["soort"] == "richting"), errors="coerce") % 360
    found = of_mark.where(rows["soort"].isin(notation.DIRECTED) & rows["hoek"].notna(), as_number)
    return found.where(np.isfinite(found))


def _places(rows: pd.DataFrame, records: pd.DataFrame) -> dict[str, pd.Series]:
    """RD metres of marks on a map, of which the picture's data tell the corner and the scale."""
    placed = rows["soort"].isin(PLACED) & rows["kaart_m_per_pixel"].notna() & rows["x"].notna()
    found = pd.DataFrame(np.nan, index=rows.index, columns=["rd_x_m", "rd_y_m"])
    if placed.any():
        marks = rows[placed]
        told = {r: _subject(str(records.at[r, "onderwerp"])) for r in marks["record"].unique()}
        left, top, scale = (
            np.array(
                [notation.number(told[r].get(k)) for r, k in zip(marks["record"], marks[c], strict=True)]
            )
            for c in ("kaart_links", "kaart_boven", "kaart_m_per_pixel")
        )
        found.loc[placed, "rd_x_m"] = left + marks["x"].to_numpy(float) * scale
        found.loc[placed, "rd_y_m"] = top - marks["y"].to_numpy(float) * scale
    return {"rd_x_m": found["rd_x_m"], "rd_y_m": found["rd_y_m"]}


def _subject(text: str) -> dict[str, object]:
    """The data of a subject, which stand under its number; empty when they cannot be read."""
    try:
        told = json.loads(text)
        return dict(next(iter(told.values())))
    except (ValueError, TypeError, AttributeError, StopIteration):
        return {}


def _without_taboo(rows: pd.DataFrame) -> pd.DataFrame:
    """Take forbidden words out of typed tags; an answer of which nothing is left is marked."""
    concerned = rows["taboe"].notna() & (rows["soort"] == FREE) & rows["labels"].notna()
    for label in rows.index[concerned]:
        forbidden = {notation.normal_tag(t) for t in json.loads(str(rows.at[label, "taboe"]))}
        given = json.loads(str(rows.at[label, "labels"]))
        left = [t for t in given if t not in forbidden]
        rows.at[label, "labels"] = json.dumps(left, ensure_ascii=False)
        rows.at[label, "is_taboe"] = bool(given) and not left
    return rows


def _too_fast(rows: pd.DataFrame, rules: CleaningRules) -> pd.Series:
    """Turns that took less time than looking takes, by the duration that the source gives.

    Not by the time since the turn before: where a source dates in whole seconds, or days, that is often 0.
    """
    return (rows["duur_s"] < rules.min_duration_s).fillna(False).astype(bool)


def _monotonous(rows: pd.DataFrame, rules: CleaningRules) -> pd.Series:
    """Series of one player on one question that somebody who looks would hardly give.

    Of labels: always the same answer, where the chance of that, from the shares of that answer among the
    other judgements of the same items (smoothed by the question's), is below ``series_chance``. A careful
    player of a question with hardly any variation is no bot. Of places: always the same spot in the picture
    (within one percent of its side, or two pixels).
    """
    flagged = pd.Series(False, index=rows.index)
    used = rows[~rows["is_leeg"] & ~rows["is_deskundige"]]
    labelled = used[used["soort"].isin([SINGLE, MULTIPLE])]
    answer = labelled["label"].where(labelled["soort"] == SINGLE, labelled["labels"]).astype("str")
    labelled = labelled.assign(antwoord=answer)
    series = labelled.groupby(["vraag", "speler"])["antwoord"].agg(["nunique", "size"])
    suspects = series[(series["nunique"] == 1) & (series["size"] >= rules.series_judgements)]
    if len(suspects):
        chance = _log_chance(labelled)
        told = labelled.assign(kans=chance).groupby(["vraag", "speler"])["kans"].sum()
        bots = suspects.index[told.reindex(suspects.index) < np.log(rules.series_chance)]
        member = pd.MultiIndex.from_frame(labelled[["vraag", "speler"]]).isin(bots)
        flagged.loc[labelled.index[member]] = True
    marks = used[used["x_px"].notna()]
    if len(marks):
        of_player = marks.groupby(["vraag", "speler"])
        side = marks[["breedte", "hoogte"]].max(axis=1).fillna(0)
        near = np.maximum(2.0, 0.01 * side)
        still = pd.Series(True, index=marks.index)
        for axis in ("x_px", "y_px"):
            still &= of_player[axis].transform("max") - of_player[axis].transform("min") <= near
        number = of_player["item"].transform("nunique")
        flagged.loc[marks.index[still & (number >= rules.series_judgements)]] = True
    return flagged


def _log_chance(labelled: pd.DataFrame) -> pd.Series:
    """Logarithm of the share of each answer among the other judgements of its item, smoothed by one."""
    of_question = labelled.groupby(["vraag", "antwoord"])["item"].transform("size")
    share = of_question / labelled.groupby("vraag")["item"].transform("size")
    same = labelled.groupby(["vraag", "item", "antwoord"])["speler"].transform("size") - 1
    others = labelled.groupby(["vraag", "item"])["speler"].transform("size") - 1
    chance: pd.Series = (same + share) / (others + 1)
    return chance.apply(np.log)
