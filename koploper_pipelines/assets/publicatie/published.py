"""Published tables about the platform itself: quality, quarantine and releases.

Here belong views on the ledger and on the lake's heads. They too pass a gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from koploper_pipelines.contracts.model import SOURCE_RULE
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import GatedTable, Step, gated_table
from koploper_pipelines.resources.lake import NoTable

if TYPE_CHECKING:
    import pandas as pd

    from koploper_pipelines.gates.step import Platform

OWN = "publicatie/"
RELEASES = "publicatie/published/releases"
FILE_REFUSED = "een bestand is geweigerd; het rapport staat ernaast in inbox/afgekeurd"
SOURCE_SILENT = "de bron was niet te bereiken; wat er al was blijft staan"


def published_tables(platform: Platform) -> Iterator[GatedTable]:
    """Every table that a release holds."""
    yield from (t for t in platform.tables.values() if t.contract.layer == "published")


def _judged(platform: Platform) -> dict[str, int]:
    """When the experiments' gates judged last: changes when one of them judged anew."""
    return {t: n for t, n in platform.ledger.last_judged().items() if not t.startswith(OWN)}


@gated_table("publicatie/published/datakwaliteit", also=_judged)
def datakwaliteit(step: Step) -> Offered:
    """The verdict of the last night on every rule of every table."""
    import pandas as pd

    tables = step.platform.tables
    judged = step.platform.ledger.read("gebeurtenis = 'regel'")
    last = _of_last_night(judged)
    current = {(t.path, r.name) for t in tables.values() for r in t.contract.rules}
    # A rule that left its contract is no longer a promise about the table.
    is_current = [pair in current for pair in zip(last["tabel"], last["regel"], strict=True)]
    last = last[pd.Series(is_current, index=last.index, dtype=bool)]
    verdict = last["is_geslaagd"].map({True: "geslaagd", False: "niet_geslaagd"})
    is_countable = last["tabel"].isin([t.path for t in tables.values() if _counts_are_process(t)])
    # What a landing says names the file, and whoever named the file may have named a person.
    is_landing = last["tabel"].isin([t.path for t in tables.values() if t.lands])
    of_source = last["regel"] == SOURCE_RULE
    said = last["toelichting"].mask(is_landing & last["toelichting"].notna(), FILE_REFUSED)
    made = last.assign(
        oordeel=verdict.where(last["is_te_beoordelen"].astype(bool), "niet_te_beoordelen"),
        rijen_beoordeeld=last["beoordeeld"].astype("Int64").where(is_countable),
        rijen_afwijkend=last["afwijkend"].astype("Int64").where(is_countable),
        toelichting=said.mask(of_source & said.notna(), SOURCE_SILENT),
        beoordeeld_op=pd.to_datetime(last["tijd"], utc=True),
    )
    names = [c.name for c in tables["publicatie/published/datakwaliteit"].contract.columns]
    expected = len(set(zip(judged["tabel"], judged["regel"], strict=True)) & current)
    return Offered(made[names].reset_index(drop=True), controls={"beoordeelde_regels": expected})


def _of_last_night(judged: pd.DataFrame) -> pd.DataFrame:
    """Of each rule the worst verdict of the last night (or run by hand) that judged it, over the most rows.

    A night takes a table a range of days at a time: a day that is held back must not hide behind a later
    range, nor a full range behind an empty one.
    """
    rule = ["tabel", "regel"]
    nights = judged["nacht"].fillna(judged["run_id"])
    in_last = judged[nights == nights.groupby([judged[c] for c in rule]).transform("last")]
    worst_first = in_last.sort_values(["is_geslaagd", "beoordeeld"], ascending=[True, False], kind="stable")
    return worst_first.drop_duplicates(rule)


def _counts_are_process(table: GatedTable) -> bool:
    """Whether the number of rows is a process count: of measurements, or of rows that are published.

    The number of rides or visited cells of last night's days would be a figure about people.
    """
    return table.lands or table.contract.conserves_rows or table.contract.layer == "published"


@gated_table("publicatie/published/datakwaliteit_quarantaine", also=_judged)
def datakwaliteit_quarantaine(step: Step) -> Offered:
    """Number of rows set aside per table and reason."""
    import pandas as pd

    platform = step.platform
    counts: list[dict[str, Any]] = []
    set_aside = 0
    for table in platform.tables.values():
        for reason, number, total in _reasons(step, table.path):
            meaning = {**{r.name: r.description for r in table.contract.rules}, **table.contract.reasons}
            counts.append(
                {
                    "tabel": table.path,
                    "reden": reason,
                    "uitleg": meaning[reason],
                    "aantal_rijen": number,
                    "aandeel_pct": 100 * number / total,
                }
            )
        if (quarantine := platform.gate.quarantine(table.path)) is not None:
            set_aside += platform.lake.rows(*quarantine)
    columns = ["tabel", "reden", "uitleg", "aantal_rijen", "aandeel_pct"]
    return Offered(pd.DataFrame(counts, columns=columns), controls={"rijen_in_quarantaine": set_aside})


def _reasons(step: Step, table: str) -> list[tuple[str, int, int]]:
    """Reason, rows, and all rows that the table was offered."""
    lake, quarantine = step.platform.lake, step.platform.gate.quarantine(table)
    if quarantine is None:
        return []
    name, version = quarantine
    rows = lake.relation(step.con, name, version)
    found = rows.aggregate("reden, count(*)", "reden").order("reden").fetchall()
    offered = lake.rows(table, lake.head(table).version) + sum(number for _, number in found)
    return [(reason, number, offered) for reason, number in found]


def versions(platform: Platform) -> dict[str, int]:
    """Version of every published table that was made, the list of releases itself aside."""
    found: dict[str, int] = {}
    for table in published_tables(platform):
        if table.path == RELEASES:
            continue
        try:
            found[table.path] = platform.lake.head(table.path).stamped_version
        except NoTable:
            continue
    return found


@gated_table(
    RELEASES,
    also=versions,
    after=("publicatie/published/datakwaliteit", "publicatie/published/datakwaliteit_quarantaine"),
)
def releases(step: Step) -> Offered:
    """All releases so far and the one that is about to be made: only when a published table changed."""
    import pandas as pd

    platform = step.platform
    contract = platform.tables[RELEASES].contract
    before = _made_before(platform, step)
    now = versions(platform)
    moment = platform.clock.now()
    if len(before):
        # The newest is the one to publish, also when the clock stood still or was set back since the last.
        moment = max(moment, before["gemaakt_op"].max() + pd.Timedelta(seconds=1))
    changed = ", ".join(p.split("/", 2)[0] + "/" + p.split("/", 2)[2] for p in now)
    new = {
        "release": f"r{moment:%Y%m%d-%H%M%S}",
        "gemaakt_op": pd.Timestamp(moment),
        "status": "voorlopig",
        "soort": "verversing",
        "aantal_tabellen": len(now) + 1,
        "toelichting": changed,
    }
    rows = pd.concat([before, pd.DataFrame([new])], ignore_index=True) if len(before) else pd.DataFrame([new])
    return Offered(
        rows[[c.name for c in contract.columns]],
        controls={"releases_met_deze": len(before) + 1},
        # In the stamp, so that what a release held can be looked up as long as the lake keeps the versions.
        notes={"release": new["release"], "versies": now},
    )


def versions_of_releases(platform: Platform) -> dict[str, dict[str, int]]:
    """Version of every published table in each release, oldest release first."""
    try:
        stamps = platform.lake.stamps(RELEASES)
    except NoTable:
        return {}
    told = [stamp.get("feiten") or {} for _, stamp in stamps]
    return {facts["release"]: facts["versies"] for facts in told if "versies" in facts}


def _made_before(platform: Platform, step: Step) -> pd.DataFrame:
    import pandas as pd

    try:
        head = platform.lake.head(RELEASES)
    except NoTable:
        return pd.DataFrame(columns=["release"])
    before: pd.DataFrame = platform.lake.relation(step.con, RELEASES, head.version).df()
    return before
