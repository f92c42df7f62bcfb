"""PM2.5 per area, hour and weather, the excess over the background beside it; busy against quiet cells."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from koploper_pipelines.assets.snuffelfiets import SnuffelfietsSettings
from koploper_pipelines.assets.snuffelfiets.gebieden import BOUNDARIES, municipality_of
from koploper_pipelines.assets.snuffelfiets.indicators import (
    PAIRS,
    PASSAGES,
    PROVINCE,
    REFERENCE,
    ROADS,
    WEATHER,
)
from koploper_pipelines.assets.snuffelfiets.indicators.passages import coded, in_province, stations, total
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.table import Reads, Step, gated_table

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from koploper_pipelines.methods.snuffelfiets.calibration import CalibrationRules

UNKNOWN = "onbekend"
# Lower bounds of the classes of an hour; the last has no upper bound. Less rain than 0.1 mm is a trace.
WEATHER_CLASSES = {
    "wind_m_s": (0, 2, 4, 6, 9),
    "neerslag_mm": (0, 0.1, 1),
    "luchtvochtigheid_pct": (0, 60, 70, 80, 90),
}
SUMS = ("som", "pm25_som", "rv_som", "achtergrond_som")
HOURS = tuple(f"{hour:02d}" for hour in range(24))


def classes() -> dict[str, tuple[str, ...]]:
    """Names of the classes per characteristic of an hour."""
    weather = {
        kind: (*(f"{low:g}-{high:g}" for low, high in pairwise(at)), f"{at[-1]:g}+", UNKNOWN)
        for kind, at in WEATHER_CLASSES.items()
    }
    return {"uur_van_de_dag": HOURS, **weather}


@gated_table(
    "snuffelfiets/indicators/pm25_cel",
    reads=[Reads(PASSAGES), Reads(PAIRS), Reads(REFERENCE, lookup=True)],
    settings=SnuffelfietsSettings,
)
def pm25_cel(step: Step) -> Offered:
    """PM2.5 while riding per 500 m cell and month."""
    from koploper_pipelines.methods import geo

    passages = step.read(PASSAGES)
    cells = _cells_ridden(passages)
    cells["cel_500m"] = geo.square_500m_of(cells["cel_100m"])
    step.con.register("cellen", cells)
    rows = passages.join(step.con.table("cellen"), "cel_100m")
    made = _pm25(step, rows, ["cel_500m"], sums_sql("cel_500m"))
    return Offered(
        with_reach(step, made), controls={"metingen_in_passages": total(passages, "aantal_metingen")}
    )


@gated_table(
    "snuffelfiets/indicators/pm25_gemeente",
    reads=[Reads(PASSAGES), Reads(PAIRS), Reads(REFERENCE, lookup=True), Reads(BOUNDARIES)],
    settings=SnuffelfietsSettings,
)
def pm25_gemeente(step: Step) -> Offered:
    """PM2.5 while riding per municipality and month, and for the province as a whole."""
    import pandas as pd

    from koploper_pipelines.methods import geo

    passages = step.read(PASSAGES)
    areas = areas_ridden(step, passages)
    inside = areas[areas["gebied_code"] != geo.OUTSIDE_PROVINCE].assign(gebied_code=PROVINCE)
    step.con.register("gebieden", pd.concat([areas, inside]))
    rows = passages.join(step.con.table("gebieden"), "cel_100m")
    made = with_reach(step, _pm25(step, rows, ["gebied_code"], sums_sql("gebied_code")))
    # Counted apart, from the cells alone.
    measured = passages.aggregate("cel_100m, sum(aantal_metingen)::BIGINT AS n", "cel_100m").df()
    both = int(measured["n"].sum() + measured["n"][measured["cel_100m"].isin(inside["cel_100m"])].sum())
    return Offered(made, controls={"metingen_in_passages_en_provincie": both})


@gated_table(
    "snuffelfiets/indicators/pm25_uur",
    reads=[
        Reads(PASSAGES),
        Reads(PAIRS),
        Reads(REFERENCE, lookup=True),
        Reads(WEATHER, lookup=True),
    ],
    settings=SnuffelfietsSettings,
)
def pm25_uur(step: Step) -> Offered:
    """PM2.5 while riding, and at the stations, by hour of the day and by the weather of the hour."""
    import pandas as pd

    from koploper_pipelines.methods.snuffelfiets import background
    from koploper_pipelines.methods.sums import fixed_point_sum

    passages = step.read(PASSAGES)
    hours = background.hours(step.con, in_province(step, step.read(REFERENCE)), step.read(WEATHER))
    hours.create("uren")
    passages.create_view("alle_passages")
    step.con.sql(f"CREATE TEMP TABLE klassen_van_uren AS {_classes_of_hours('alle_passages')}")
    rows = step.con.sql("SELECT * FROM alle_passages JOIN klassen_van_uren USING (uur)")
    of_stations = step.con.sql(f"""
        SELECT strftime(timezone('Europe/Amsterdam', uur), '%Y-%m') AS maand, kenmerk, klasse,
            count(*) AS stations_uren,
            {fixed_point_sum("achtergrond_ug_m3")} / count(*) AS stations_ug_m3
        FROM uren JOIN ({_classes_of_hours("uren")}) USING (uur)
        WHERE achtergrond_ug_m3 IS NOT NULL
        GROUP BY ALL
    """).df()
    groups = ["maand", "kenmerk", "klasse"]
    # Of hours first: each counts in four classes.
    sums = f"""
        SELECT maand, kenmerk, klasse, apparaat, meetdag, sum(n)::BIGINT AS n,
            sum(n_achtergrond)::BIGINT AS n_achtergrond,
            {", ".join(f"{_summed(c)} AS {c}" for c in SUMS)}
        FROM ({sums_sql("uur", "alle_passages")}) JOIN klassen_van_uren USING (uur)
        GROUP BY ALL
        ORDER BY ALL
    """
    made = _pm25(step, rows, groups[1:], sums)
    names = [(kind, name) for kind, of_kind in classes().items() for name in of_kind]
    every = made[["maand"]].drop_duplicates().merge(pd.DataFrame(names, columns=groups[1:]), how="cross")
    full = every.merge(made, how="left", on=groups).merge(of_stations, how="left", on=groups)
    counts = [c for c in map(str, full) if c.startswith(("aantal_", "metingen_")) or c == "stations_uren"]
    full[counts] = full[counts].fillna(0).astype("int64")
    counted = len(classes()) * total(passages, "aantal_metingen")
    return Offered(with_reach(step, full), controls={"vier_maal_metingen": counted})


def with_reach(step: Step, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of months with how far the reference of their month reaches."""
    return rows.merge(reach(step), how="left", on="maand")


def reach(step: Step) -> pd.DataFrame:
    """Per month the start of the last hour for which a station in the province has a value."""
    reference = step.read(REFERENCE)
    last = reference.aggregate(
        "station, strftime(meetdag, '%Y-%m') AS maand, max(uur_op) AS laatste_referentie_uur",
        "station, maand",
    ).df()
    inside = last[last["station"].isin(stations(reference)["station"])]
    latest: pd.DataFrame = inside.groupby("maand", as_index=False)["laatste_referentie_uur"].max()
    return latest


def _classes_of_hours(rows: str) -> str:
    """SQL: each hour of `rows` with the class that it has of each characteristic."""
    return f"""
        UNPIVOT (
            SELECT DISTINCT uur, strftime(timezone('Europe/Amsterdam', uur), '%H') AS uur_van_de_dag,
                {_class("wind_m_s", "wind_m_s")} AS wind_m_s,
                {_class("neerslag_mm", "neerslag_mm")} AS neerslag_mm,
                {_class("luchtvochtigheid_pct", "luchtvochtigheid_buiten_pct")} AS luchtvochtigheid_pct
            FROM (SELECT DISTINCT uur, wind_m_s, neerslag_mm, luchtvochtigheid_buiten_pct FROM {rows})
        ) ON uur_van_de_dag, wind_m_s, neerslag_mm, luchtvochtigheid_pct INTO NAME kenmerk VALUE klasse
    """


def _class(kind: str, column: str) -> str:
    names, lows = classes()[kind], WEATHER_CLASSES[kind]
    cases = " ".join(
        f"WHEN {column} >= {low} THEN '{name}'"
        for low, name in zip(reversed(lows), reversed(names[:-1]), strict=True)
    )
    return f"CASE {cases} ELSE '{UNKNOWN}' END"


@gated_table("snuffelfiets/indicators/pm25_contrast", reads=[Reads(PASSAGES), Reads(ROADS)])
def pm25_contrast(step: Step) -> Offered:
    """Busy against quiet cells within rides: cells of the list of roads, else traffic-like ones."""
    import pandas as pd

    from koploper_pipelines.methods.snuffelfiets import contrast, roads

    rows = coded(step, step.read(PASSAGES))
    listed = roads.of_list(step.read(ROADS).df())
    found = [
        (contrast.within_rides(month, listed) if len(listed) else contrast.crossed(month)).assign(maand=name)
        for name, month in rows.groupby("maand")
    ]
    made = pd.concat(found) if found else contrast.crossed(rows).assign(maand=pd.Series(dtype="str"))
    renamed = made.rename(columns={"n": "gewicht", "som": "gewogen_verschil_ug_m3"})
    controls = {
        "metingen_in_passages": int(rows["aantal_metingen"].sum()),
        "ritten": rows["rit_id"].nunique(),
    }
    texts = renamed.astype({"rit_id": "str", "apparaat": "str"})
    # Days as dates, which pandas holds as moments.
    return Offered(texts.assign(meetdag=pd.to_datetime(texts["meetdag"]).dt.date), controls=controls)


def _cells_ridden(passages: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """The 100 m cells of passages, once each: `cel_100m`."""
    found: pd.DataFrame = passages.project("cel_100m").distinct().order("cel_100m").df()
    return found


def areas_ridden(step: Step, passages: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """The 100 m cells of passages with the municipality of the middle of each, `gebied_code`."""
    from koploper_pipelines.methods import geo

    cells = _cells_ridden(passages)
    areas, _ = municipality_of(step, *geo.square_centre(cells["cel_100m"], 100))
    return cells.assign(gebied_code=areas)


def calibration_rules(choice: SnuffelfietsSettings) -> CalibrationRules:
    """The rules for calibrations that follow from the experiment's choices."""
    from koploper_pipelines.methods.snuffelfiets.calibration import CalibrationRules

    return CalibrationRules(
        min_hours=choice.ijking_min_uren,
        min_devices=choice.min_apparaten,
        error_ratio=choice.ijking_foutverhouding,
    )


def _pm25(step: Step, passages: duckdb.DuckDBPyRelation, area: list[str], summed: str) -> pd.DataFrame:
    """The PM2.5 indicator per month and area, from passages that name their area and SQL of their sums."""
    from koploper_pipelines.methods import intervals
    from koploper_pipelines.methods.snuffelfiets import calibration, excess

    choice: SnuffelfietsSettings = step.settings(SnuffelfietsSettings)
    groups, keys = ["maand", *area], ", ".join(area)
    passages.create_view("gebiedspassages")
    sums = step.con.sql(summed).df()
    per_group = step.con.sql(f"""
        SELECT strftime(meetdag, '%Y-%m') AS maand, {keys}, count(*) AS aantal_passages,
            median(pm25_gemiddelde_ug_m3) AS pm25_mediaan_ug_m3, max(meetdag) AS peildatum
        FROM gebiedspassages GROUP BY ALL
    """).df()
    means = intervals.clustered_mean(sums, groups, min_devices=choice.min_apparaten)
    per_device = sums.groupby([*groups, "apparaat"])["n"].sum().groupby(groups)
    share = (per_device.max() / per_device.sum()).rename("grootste_aandeel")
    rules = calibration_rules(choice)
    found = step.read(PAIRS).order("maand, apparaat, station, uur").df()
    over = excess.over_background(
        sums,
        groups,
        calibration.lines(found, rules),
        found,
        calibration.compared_devices(found, rules),
        min_devices=choice.min_apparaten,
    )
    renamed = means.drop(columns="standaardfout").rename(
        columns={
            "gemiddelde": "pm25_ug_m3",
            "ondergrens": "pm25_onder_ug_m3",
            "bovengrens": "pm25_boven_ug_m3",
            "status": "pm25_ug_m3_status",
            "n": "aantal_metingen",
        }
    )
    joined = renamed.merge(per_group, on=groups).merge(over, on=groups).join(share, on=groups)
    return joined.assign(peildatum=joined["peildatum"].dt.date)


def sums_sql(keys: str, passages: str = "gebiedspassages") -> str:
    """Sums by area, device and day; of hours with a background and a humidity apart, for the excess."""
    usable = "FILTER (achtergrond_ug_m3 IS NOT NULL AND luchtvochtigheid_gemiddelde_pct IS NOT NULL)"

    return f"""
        SELECT strftime(meetdag, '%Y-%m') AS maand, {keys}, apparaat, meetdag,
            sum(aantal_metingen)::BIGINT AS n, {_summed("pm25_som_ug_m3")} AS som,
            coalesce(sum(aantal_metingen) {usable}, 0)::BIGINT AS n_achtergrond,
            {_summed("pm25_som_ug_m3", usable)} AS pm25_som,
            {_summed("luchtvochtigheid_gemiddelde_pct * aantal_metingen", usable)} AS rv_som,
            {_summed("achtergrond_ug_m3 * aantal_metingen", usable)} AS achtergrond_som
        FROM {passages}
        GROUP BY ALL
        ORDER BY ALL
    """


def _summed(expression: str, which: str = "") -> str:
    from koploper_pipelines.methods.sums import fixed_point_sum

    return f"coalesce({fixed_point_sum(expression, which)}, 0)"
