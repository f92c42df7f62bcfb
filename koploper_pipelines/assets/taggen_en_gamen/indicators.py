"""Indicators: labels, places, agreement, players and play sessions; internal.

Here belong the calls and the shape of the tables. What may be shown of them is decided in `published.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from koploper_pipelines.assets.taggen_en_gamen import TaggenSettings
from koploper_pipelines.assets.taggen_en_gamen.cleaned import CLEAN, CLEAN_GOLD
from koploper_pipelines.gates.staging import Offered, arrow_schema
from koploper_pipelines.gates.table import Reads, Step, gated_table
from koploper_pipelines.relations import count, select, value

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

    from koploper_pipelines.methods.taggen_en_gamen.agreement import Alpha
    from koploper_pipelines.methods.taggen_en_gamen.confidence import Calibration
    from koploper_pipelines.methods.taggen_en_gamen.stopping import StoppingRules

CONSENSUS = "taggen_en_gamen/indicators/consensus"
PLACES = "taggen_en_gamen/indicators/plaatsen"
AGREEMENT = "taggen_en_gamen/indicators/overeenstemming"
PLAYERS = "taggen_en_gamen/indicators/spelers"
SESSIONS = "taggen_en_gamen/indicators/sessies"
MONTH = "%Y-%m"


@gated_table(CONSENSUS, reads=[Reads(CLEAN), Reads(CLEAN_GOLD)], settings=TaggenSettings)
def consensus(step: Step) -> Offered:
    """What each item shows by the question's method, how sure that is, and what to do with it."""
    import numpy as np
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen import labels, stopping

    choice: TaggenSettings = step.settings(TaggenSettings)
    rules = rules_of(choice)
    gold = read_gold(step)
    pieces = []
    for question, kind, rows in labelled_questions(step):
        own = gold[gold["vraag"] == question]
        method = labels.chosen_method(rows, kind, choice.methode)
        found = labels.claims(rows, kind, method, seeds(own, choice))
        fit = calibration(found, kind, own, choice)
        found["vertrouwen"] = fit(found["kans"].to_numpy(float)) if len(found) else pd.Series(dtype="float64")
        found["is_geijkt"] = fit.is_fitted
        found = pd.concat([found, _unjudged(rows, found)], ignore_index=True)
        sure = np.asarray(found["vertrouwen"].astype("float64").fillna(0.0), np.float64)
        found["besluit"] = stopping.decide(sure, found["aantal_oordelen"].to_numpy(int), rules)
        ranked = found.sort_values(["item", "vertrouwen", "label"], ascending=[True, False, True])
        found["volgnummer"] = ranked.groupby("item").cumcount() + 1
        pieces.append(found.assign(vraag=question, soort=kind, methode=method))
    if not pieces:
        return Offered(empty(step, CONSENSUS), controls={"beoordeelde_items": 0})
    made = pd.concat(pieces, ignore_index=True)
    made["kans"] = np.where(made["label"].isna(), np.nan, made["kans"].astype("float64"))
    made = made.astype({"vertrouwen": "float64", "is_aanwezig": "boolean", "is_geijkt": "bool"})
    columns = [c.name for c in step.platform.tables[CONSENSUS].contract.columns]
    items = value(
        step.read(CLEAN)
        .filter(f"soort IN ({_listed(labels.METHODS)})")
        .aggregate("count(DISTINCT (vraag, item))")
    )
    # Items by their first claim: counted apart from the method.
    made["is_eerste"] = (made["volgnummer"] == 1).astype("int64")
    return Offered(made[columns], controls={"beoordeelde_items": int(items)})


@gated_table(PLACES, reads=[Reads(CLEAN)], settings=TaggenSettings)
def plaatsen(step: Step) -> Offered:
    """Where each photograph was taken and in which direction, per question and item."""
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen import answers

    choice: TaggenSettings = step.settings(TaggenSettings)
    chosen = f"soort IN ({_listed({*answers.PLACED, *answers.DIRECTED})})"
    rows = step.read(CLEAN).filter(chosen).order("volgorde").df()
    pieces = [
        _where_and_whither(own, choice).assign(vraag=question, soort=own["soort"].iloc[0])
        for question, own in rows.groupby("vraag")
    ]
    judged = step.read(CLEAN).filter(chosen).aggregate("count(DISTINCT (vraag, item))")
    controls = {"beoordeelde_items": int(value(judged))}
    if not pieces:
        return Offered(empty(step, PLACES), controls=controls)
    made = pd.concat(pieces, ignore_index=True)
    for column in step.platform.tables[PLACES].contract.columns:
        if column.type == "integer":
            made[column.name] = made[column.name].astype("float64").fillna(0).astype("int64")
        elif column.type in ("number", "boolean"):
            made[column.name] = made[column.name].astype("float64" if column.type == "number" else "boolean")
    columns = [c.name for c in step.platform.tables[PLACES].contract.columns]
    return Offered(made[columns], controls=controls)


def _where_and_whither(own: pd.DataFrame, choice: TaggenSettings) -> pd.DataFrame:
    """Centre and direction of each item of one question; missing where no judgement tells."""
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen import direction, place

    counting = own[own["gewicht"] > 0]
    on_map = counting[counting["rd_x_m"].notna() & counting["rd_y_m"].notna()]
    marks = on_map.rename(columns={"rd_x_m": "x_m", "rd_y_m": "y_m"})
    where = place.centres(marks, place.PlaceRules(reach_m=choice.bereik_m)).rename(
        columns={
            "x_m": "rd_x_m",
            "y_m": "rd_y_m",
            "aantal_spelers": "plaats_aantal_spelers",
            "aantal_spelers_eens": "plaats_aantal_spelers_eens",
        }
    )
    towards = direction.modes(counting[counting["richting_graden"].notna()]).rename(
        columns={"richting_graden": "kijkrichting_graden", "aantal_spelers": "richting_aantal_spelers"}
    )
    judged = counting.groupby("item").agg(aantal_oordelen=("beurt", "nunique"))
    items = pd.DataFrame({"item": sorted(own["item"].unique())})
    return (
        items.join(where.set_index("item"), on="item")
        .join(towards.set_index("item"), on="item")
        .join(judged, on="item")
    )


@gated_table(AGREEMENT, reads=[Reads(CLEAN)])
def overeenstemming(step: Step) -> Offered:
    """Krippendorff's alpha per question (of several labels: per label), with its bootstrap interval."""
    import numpy as np
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen import agreement, answers, labels

    found = []
    for question, kind, rows in labelled_questions(step):
        counting = rows[rows["gewicht"] > 0]
        if kind == answers.FREE or counting.empty:
            continue
        if kind == answers.SINGLE:
            alpha = agreement.nominal_alpha_interval(labels.counted(counting))
            found.append(_agreement(question, WHOLE_QUESTION, "nominaal", alpha))
            continue
        for label in sorted(labels.exploded(counting)["label"].unique()):
            alpha = agreement.nominal_alpha_interval(labels.counted(labels.yes_or_no(counting, label)))
            found.append(_agreement(question, label, "nominaal", alpha))
    angles = step.read(CLEAN).filter("richting_graden IS NOT NULL AND gewicht > 0").order("volgorde").df()
    for question, own in angles.groupby("vraag"):
        # One direction a player, as in a table of coders by units.
        first = own.drop_duplicates(["item", "speler"])
        item, names = pd.factorize(first["item"])
        theta = np.radians(first["richting_graden"].to_numpy(float))
        alpha = agreement.circular_alpha_interval(item, theta, len(names))
        found.append(_agreement(str(question), WHOLE_QUESTION, "circulair", alpha))
    expected = int(value(select(step.read(CLEAN), "o", _MEASURES_OF_AGREEMENT)))
    controls = {"metingen_van_overeenstemming": expected}
    return Offered(pd.DataFrame(found) if found else empty(step, AGREEMENT), controls=controls)


WHOLE_QUESTION = "alle labels"
_MEASURES_OF_AGREEMENT = """
    SELECT count(*) FROM (
        SELECT DISTINCT vraag, '' AS label, 'n' FROM o WHERE gewicht > 0 AND soort = 'enkel'
        UNION ALL
        SELECT DISTINCT vraag, unnest(json_extract_string(labels, '$[*]')), 'n' FROM o
        WHERE gewicht > 0 AND soort = 'meerdere'
        UNION ALL
        SELECT DISTINCT vraag, '', 'c' FROM o WHERE gewicht > 0 AND richting_graden IS NOT NULL
    )
"""


def _agreement(question: str, label: str, measure: str, alpha: Alpha) -> dict[str, object]:
    return {
        "vraag": question,
        "label": label,
        "maat": measure,
        "alfa": alpha.value,
        "alfa_onder": alpha.lower,
        "alfa_boven": alpha.upper,
        "aantal_items": alpha.items,
        "aantal_oordelen": alpha.judgements,
    }


@gated_table(PLAYERS, reads=[Reads(CLEAN, quarantine=True), Reads(CLEAN_GOLD)], settings=TaggenSettings)
def spelers(step: Step) -> Offered:
    """How well each player judges: on the calibration part of the gold, against others, against oneself."""
    import pandas as pd

    choice: TaggenSettings = step.settings(TaggenSettings)
    experts = read_gold(step)
    experts = experts[experts["deel"] == "ijking"]
    pieces = [
        _players(rows, experts[experts["vraag"] == question], choice).assign(vraag=question)
        for question, kind, rows in labelled_questions(step)
        if kind == "enkel" and (rows["gewicht"] > 0).any()
    ]
    counted = count(step.read(CLEAN).filter("soort = 'enkel' AND gewicht > 0"))
    controls = {"oordelen_in_invoer": counted}
    if not pieces:
        return Offered(empty(step, PLAYERS), controls=controls)
    themselves = _self_agreement(step, _repeats(step.quarantine(CLEAN)))
    made = pd.concat(pieces, ignore_index=True).merge(themselves, how="left", on=["vraag", "speler"])
    for column in ("aantal_herhalingen", "aantal_herhalingen_gelijk"):
        made[column] = made[column].fillna(0).astype("int64")
    return Offered(made, controls=controls)


def _players(rows: pd.DataFrame, experts: pd.DataFrame, choice: TaggenSettings) -> pd.DataFrame:
    """The players of one question with one choice."""
    import numpy as np
    import pandas as pd

    from koploper_pipelines.methods.taggen_en_gamen import labels, players

    counting = rows[rows["gewicht"] > 0]
    judgements, items, names = labels.coded(counting)
    fitted = labels.fit_with(labels.chosen_method(rows, "enkel", choice.methode))(judgements, None)
    errors = players.shrunk_errors(judgements, fitted.probability)
    truth = experts.set_index("item")["label"].reindex(items).astype(object).to_numpy()
    on_gold = pd.notna(truth)[judgements.item]
    hits = on_gold & (names[judgements.label] == truth[judgements.item])
    judged, right = (
        np.bincount(judgements.player, which, judgements.players).astype(np.float64)
        for which in (on_gold, hits)
    )
    accuracy = players.gold_accuracy(right, judged)
    suspect = (
        counting.assign(v=counting["is_te_snel"] | counting["is_eentonig"]).groupby("speler")["v"].mean()
    )
    return pd.DataFrame(
        {
            "speler": np.unique(counting["speler"]),
            "aantal_oordelen": np.bincount(judgements.player, minlength=judgements.players),
            "aantal_goud": judged.astype("int64"),
            "aantal_goud_goed": right.astype("int64"),
            "nauwkeurigheid_goud": accuracy.mean,
            "nauwkeurigheid_goud_onder": accuracy.lower,
            "nauwkeurigheid_goud_boven": accuracy.upper,
            "gevoeligheid": np.diagonal(errors, axis1=1, axis2=2).mean(axis=1),
            "verwarring": [str(e) for e in errors.round(4).tolist()],
            "aandeel_verdacht": suspect.to_numpy(float),
        }
    )


@gated_table(SESSIONS, reads=[Reads(CLEAN)], settings=TaggenSettings)
def sessies(step: Step) -> Offered:
    """Play sessions with the time played and the labels given."""
    from koploper_pipelines.methods.taggen_en_gamen import engagement

    choice: TaggenSettings = step.settings(TaggenSettings)
    turns = select(
        step.read(CLEAN),
        "o",
        """
        SELECT speler, bool_and(is_anoniem) AS is_anoniem, beurt, max(tijd) AS tijd, max(duur_s) AS duur_s,
            count(*) FILTER (gewicht > 0) AS aantal_labels
        FROM o WHERE NOT is_deskundige AND NOT is_training AND tijd IS NOT NULL
        GROUP BY speler, beurt ORDER BY speler, tijd, beurt
        """,
    ).df()
    made = engagement.sessions(turns, choice.sessie_pauze_min)
    if made.empty:
        return Offered(empty(step, SESSIONS), controls={"beurten_in_invoer": 0})
    anonymous = turns.groupby("speler")["is_anoniem"].all()
    local = made["begin"].dt.tz_convert("Europe/Amsterdam")
    made = made.assign(is_anoniem=made["speler"].map(anonymous).astype(bool), maand=local.dt.strftime(MONTH))
    made["aantal_labels"] = made["aantal_labels"].astype("int64")
    return Offered(made, controls={"beurten_in_invoer": len(turns)})


# -- What these and the evaluation share ---------------------------------------------------------------------


def labelled_questions(step: Step) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Name, kind and judgements of each question that asks for labels, players' only, in order of time."""
    from koploper_pipelines.methods.taggen_en_gamen import labels

    players = step.read(CLEAN).filter(f"soort IN ({_listed(labels.METHODS)})")
    rows = (
        players.project(
            "vraag, soort, item, speler, label, labels, gewicht, tijd, is_leeg, is_te_snel, is_eentonig,"
            " is_anoniem, volgorde"
        )
        .order("volgorde")
        .df()
    )
    for (question, kind), own in rows.groupby(["vraag", "soort"], sort=True):
        yield str(question), str(kind), own.reset_index(drop=True)


def rules_of(choice: TaggenSettings) -> StoppingRules:
    """When a label is accepted."""
    from koploper_pipelines.methods.taggen_en_gamen.stopping import StoppingRules

    return StoppingRules(choice.aanvaarden_vanaf, choice.min_oordelen, choice.max_oordelen)


def read_gold(step: Step) -> pd.DataFrame:
    """The experts' labels."""
    rows: pd.DataFrame = step.read(CLEAN_GOLD).order("vraag, item, label").df()
    return rows


def seeds(gold: pd.DataFrame, choice: TaggenSettings) -> pd.DataFrame | None:
    """The labels that seed an error model, when they do."""
    return gold[gold["is_zaad"]] if choice.goud_in_model else None


def for_calibration(gold: pd.DataFrame, choice: TaggenSettings) -> pd.DataFrame:
    """The labels that calibrate: of the calibration part, without those that seed."""
    own = gold[gold["deel"] == "ijking"]
    return own[~own["is_zaad"]] if choice.goud_in_model else own


def calibration(found: pd.DataFrame, kind: str, gold: pd.DataFrame, choice: TaggenSettings) -> Calibration:
    """The calibration of a method's claims on a question."""
    from koploper_pipelines.methods.taggen_en_gamen import confidence, labels

    judged = labels.against_gold(found, kind, for_calibration(gold, choice))
    return confidence.calibrate(judged["kans"].to_numpy(float), judged["kans_goed"].to_numpy(float))


def empty(step: Step, table: str) -> pa.Table:
    """No rows of a table."""
    return arrow_schema(step.platform.tables[table].contract).empty_table()


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"'{v}'" for v in sorted(values))


def _unjudged(rows: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Items that players looked at and of which nothing can be said: no judgement counts."""
    import pandas as pd

    items = sorted(set(rows["item"]) - set(found["item"]))
    if not items:
        return pd.DataFrame()
    return pd.DataFrame({"item": items, "is_gelijk": False, "gelijken": "[]", "is_geijkt": False}).assign(
        aantal_stemmen=0, aantal_oordelen=0, aantal_spelers=0
    )


def _repeats(set_aside: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """Later judgements of a player on the same item, with their label."""
    rows: pd.DataFrame = (
        set_aside.filter("reden = 'herhaling'")
        .project(
            ", ".join(f"rij->>'{c}' AS {c}" for c in ("vraag", "item", "speler"))
            + ", rij->>'label' AS herhaald"
        )
        .df()
    )
    return rows.dropna(subset=["herhaald"])


def _self_agreement(step: Step, repeats: pd.DataFrame) -> pd.DataFrame:
    first = step.read(CLEAN).filter("label IS NOT NULL").project("vraag, item, speler, label").df()
    both = repeats.merge(first, on=["vraag", "item", "speler"])
    both["gelijk"] = (both["herhaald"] == both["label"]).astype("int64")
    made: pd.DataFrame = both.groupby(["vraag", "speler"], as_index=False).agg(
        aantal_herhalingen=("gelijk", "size"), aantal_herhalingen_gelijk=("gelijk", "sum")
    )
    return made
