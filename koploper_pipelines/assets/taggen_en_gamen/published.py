"""Published: labels, places, directions, agreement and quality, and of the players aggregates alone.

Here belongs what may be shown: judgements are counted exactly, since an item is no person; figures about
players rest on enough of them, over closed months. `assets/publicatie/` takes these tables to the warehouse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koploper_pipelines.assets.taggen_en_gamen import TaggenSettings
from koploper_pipelines.assets.taggen_en_gamen.evaluation import LEARNING, METHODS
from koploper_pipelines.assets.taggen_en_gamen.indicators import AGREEMENT, CONSENSUS, PLACES, SESSIONS, empty
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, SameTotal, Step, gated_table
from koploper_pipelines.relations import count

if TYPE_CHECKING:
    import pandas as pd

DEFINITIVE, NOT_AVAILABLE, SUPPRESSED = "definitief", "niet_beschikbaar", "onderdrukt"
NO_REFERENCE, APPROXIMATE, UNRELIABLE = "geen_referentie", "benadering", "onvoldoende_betrouwbaar"
NOT_APPLICABLE = "niet_van_toepassing"
MIN_AGREEING = 2
"""Players who must agree on a place for it to be more than a guess."""
MIN_RESULTANT = 0.4
ALPHA_MIN_ITEMS = 20

LABELS_AGREE = SameTotal(
    ("taggen_labels", "taggen_evaluatie"),
    "SELECT count(DISTINCT vraag) FROM taggen_labels",
    "SELECT count(DISTINCT vraag) FROM taggen_evaluatie",
    "vragen met labels",
)


@gated_table("taggen_en_gamen/published/labels", reads=[Reads(CONSENSUS)])
def labels(step: Step) -> Offered:
    """What each photograph shows, how sure that is, and whether it needs more players."""
    rows = step.read(CONSENSUS).order("vraag, item, volgnummer").df()
    is_known = rows["label"].notna()
    status = _series(DEFINITIVE, rows).mask(rows["is_gelijk"], UNRELIABLE)
    rows["label_status"] = status.where(is_known, NOT_AVAILABLE)
    status = _series(DEFINITIVE, rows).where(rows["is_geijkt"], APPROXIMATE)
    rows["vertrouwen_status"] = status.where(is_known, NOT_AVAILABLE)
    return Offered(rows[_columns(step, "labels")], controls={"claims": count(step.read(CONSENSUS))})


@gated_table("taggen_en_gamen/published/locaties", reads=[Reads(PLACES)])
def locaties(step: Step) -> Offered:
    """Where each photograph was taken, in RD metres."""
    asked = "soort IN ('punt', 'waaier')"
    rows = step.read(PLACES).filter(asked).order("vraag, item").df()
    has_place = rows["rd_x_m"].notna()
    is_weak = rows["plaats_aantal_spelers_eens"] < MIN_AGREEING
    without = (rows["aantal_oordelen"] > 0) & (rows["plaats_aantal_spelers"] == 0)
    status = _series(DEFINITIVE, rows).mask(is_weak, UNRELIABLE).mask(~has_place, NOT_AVAILABLE)
    # Judged, but on a picture of which nobody told where it lies.
    rows["rd_x_m_status"] = status.mask(without, NO_REFERENCE)
    made = rows.rename(
        columns={
            "plaats_aantal_spelers": "aantal_spelers",
            "plaats_aantal_spelers_eens": "aantal_spelers_eens",
        }
    )
    return Offered(
        made[_columns(step, "locaties")], controls={"items": count(step.read(PLACES).filter(asked))}
    )


@gated_table("taggen_en_gamen/published/kijkrichting", reads=[Reads(PLACES)])
def kijkrichting(step: Step) -> Offered:
    """In which direction the camera looked."""
    asked = "soort IN ('richting', 'waaier')"
    rows = step.read(PLACES).filter(asked).order("vraag, item").df()
    has_direction = rows["kijkrichting_graden"].notna()
    is_weak = (rows["richting_aantal_spelers"] < MIN_AGREEING) | (rows["resultante"] < MIN_RESULTANT)
    is_weak |= rows["is_tegengesteld"].fillna(False).astype(bool)
    status = _series(DEFINITIVE, rows).mask(is_weak, UNRELIABLE)
    rows["kijkrichting_graden_status"] = status.mask(~has_direction, NOT_AVAILABLE)
    rows["is_tegengesteld"] = rows["is_tegengesteld"].fillna(False).astype(bool)
    made = rows.rename(columns={"richting_aantal_spelers": "aantal_spelers"})
    return Offered(
        made[_columns(step, "kijkrichting")], controls={"items": count(step.read(PLACES).filter(asked))}
    )


@gated_table("taggen_en_gamen/published/overeenstemming", reads=[Reads(AGREEMENT)])
def overeenstemming(step: Step) -> Offered:
    """How far players agree; low agreement can go with a good consensus, so no label depends on it."""
    rows = step.read(AGREEMENT).order("vraag, label, maat").df()
    status = _series(DEFINITIVE, rows).mask(rows["aantal_items"] < ALPHA_MIN_ITEMS, UNRELIABLE)
    rows["alfa_status"] = status.mask(rows["alfa"].isna(), NOT_AVAILABLE)
    return Offered(
        rows[_columns(step, "overeenstemming")], controls={"metingen": count(step.read(AGREEMENT))}
    )


@gated_table(
    "taggen_en_gamen/published/betrokkenheid",
    reads=[Reads(SESSIONS)],
    settings=TaggenSettings,
    closes_months=True,
)
def betrokkenheid(step: Step) -> Offered:
    """How much the game yields and how long it holds its players, signed in and anonymous apart."""
    import pandas as pd

    from koploper_pipelines.methods.disclosure import DisclosureRules
    from koploper_pipelines.methods.taggen_en_gamen import engagement

    choice: TaggenSettings = step.settings(TaggenSettings)
    rules = DisclosureRules(choice.min_spelers, choice.max_aandeel)
    rows = step.read(SESSIONS).order("speler, sessie").df()
    pieces = []
    for is_anonymous, own in rows.groupby("is_anoniem"):
        until = engagement.reference_month(
            own["maand"], own["speler"], step.first_open_month, choice.min_spelers
        )
        if until is None:
            continue
        end = (pd.Period(until) + 1).to_timestamp().tz_localize("Europe/Amsterdam")
        figures = engagement.figures(own[own["maand"] <= until], end, rules)
        group = "anoniem" if is_anonymous else "aangemeld"
        pieces.append(
            figures.assign(maand=until, spelersgroep=group, peildatum=(end - pd.Timedelta("1D")).date())
        )
    controls = {"groepen_maal_indicatoren": len(pieces) * len(engagement.FIGURES)}
    if not pieces:
        return Offered(empty(step, "taggen_en_gamen/published/betrokkenheid"), controls=controls)
    return Offered(pd.concat(pieces, ignore_index=True)[_columns(step, "betrokkenheid")], controls=controls)


@gated_table("taggen_en_gamen/published/evaluatie", reads=[Reads(METHODS)], settings=TaggenSettings)
def evaluatie(step: Step) -> Offered:
    """How good each method is on each question, against experts and against the target."""
    choice: TaggenSettings = step.settings(TaggenSettings)
    rows = step.read(METHODS).order("vraag, methode").df()
    has_gold = rows["nauwkeurigheid"].notna()
    target = choice.doel_nauwkeurigheid
    rows["doel_nauwkeurigheid"] = target
    verdict = _series("onbeslist", rows).mask(rows["nauwkeurigheid_onder"] >= target, "gehaald")
    rows["doel_oordeel"] = verdict.mask(rows["nauwkeurigheid_boven"] < target, "niet_gehaald").mask(
        ~has_gold, "onbekend"
    )
    rows["nauwkeurigheid_status"] = _series(DEFINITIVE, rows).mask(~has_gold, NO_REFERENCE)
    absent = {
        "verschil_met_meerderheid": (rows["methode"].isin(["meerderheid", "vrije_tags"]), NOT_APPLICABLE),
        "ece": (has_gold, UNRELIABLE),
        "dekking_pct": (rows["dekking_pct"].isna(), NOT_AVAILABLE),
        "kosten_per_aanvaard_label_eur": (rows["dekking_pct"] == 0, NOT_APPLICABLE),
        "oordelen_bespaard_pct": (rows["soort"] != "enkel", NOT_APPLICABLE),
    }
    for figure, (holds, why) in absent.items():
        needs_gold = figure in ("verschil_met_meerderheid", "ece")
        reason = _series(NO_REFERENCE if needs_gold else NOT_AVAILABLE, rows).mask(holds, why)
        rows[f"{figure}_status"] = reason.mask(rows[figure].notna(), DEFINITIVE)
    return Offered(
        rows[_columns(step, "evaluatie")], controls={"vragen_maal_methoden": count(step.read(METHODS))}
    )


@gated_table(
    "taggen_en_gamen/published/leercurve",
    reads=[Reads(LEARNING)],
    settings=TaggenSettings,
    closes_months=True,
)
def leercurve(step: Step) -> Offered:
    """Whether players get better with practice, as far as enough of them got that far."""
    from koploper_pipelines.methods import disclosure

    choice: TaggenSettings = step.settings(TaggenSettings)
    rules = disclosure.DisclosureRules(choice.min_spelers, choice.max_aandeel)
    rows = step.read(LEARNING).order("vraag, stap").df()
    hidden = disclosure.may_not_be_shown(
        rows.rename(columns={"aantal_spelers": disclosure.PARTICIPANTS}), rules
    )
    rows["nauwkeurigheid_status"] = _series(DEFINITIVE, rows).mask(hidden, SUPPRESSED)
    figures = ("nauwkeurigheid", "nauwkeurigheid_binnen_spelers", "verschil_onder", "verschil_boven")
    for figure in figures:
        rows[figure] = rows[figure].mask(hidden)
    for number in ("aantal_oordelen", "aantal_spelers"):
        rows[number] = rows[number].astype("Int64").mask(hidden)
    return Offered(rows[_columns(step, "leercurve")], controls={"stappen": count(step.read(LEARNING))})


def _columns(step: Step, table: str) -> list[str]:
    return [c.name for c in step.platform.tables[f"taggen_en_gamen/published/{table}"].contract.columns]


def _series(value: object, rows: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.Series(value, index=rows.index, dtype=object)
