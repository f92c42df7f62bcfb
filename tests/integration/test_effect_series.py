"""Series in the inbox, through the gates, to a published effect or a refusal in Dutch."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from toolbox import WARNINGS_OF_OTHERS, direct_night, installation, lake_table, quarantine

from koploper_pipelines.gates.step import Platform

pytestmark = WARNINGS_OF_OTHERS
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
CLEAN, EFFECTS = "koploperdeals/cleaned/effectreeksen", "koploperdeals/published/effecten"


def rows(
    deal: str, outcome: str, treated: int, controls: int, effect: float, months: int = 24
) -> pd.DataFrame:
    random = np.random.default_rng(5)
    periods = [str(p) for p in pd.period_range("2018-01", periods=months, freq="M")]
    change = periods[months // 2]
    made = []
    for area in range(treated + controls):
        is_treated = area < treated
        value = 20 + area + random.standard_normal(months)
        value[months // 2 :] += effect * is_treated
        made += [
            {
                "deal": deal,
                "uitkomst": outcome,
                "eenheid": "fietsers per dag",
                "gebied": f"G{area:02d}",
                "is_behandeld": "ja" if is_treated else "nee",
                "ingreep_maand": change if is_treated else "",
                "maand": month,
                "waarde": f"{v:.4f}",
            }
            for month, v in zip(periods, value, strict=True)
        ]
    return pd.DataFrame(made)


def drop(platform: Platform, name: str, table: pd.DataFrame) -> None:
    folder = platform.settings.inbox / "koploperdeals" / "effecten"
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / name, index=False)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    platform = installation(tmp_path_factory.mktemp("effecten"), NOW)
    many = rows("FIETS-1", "fietsers", 6, 14, 3.0)
    broken = many.copy()
    broken.loc[0, "waarde"] = "12,5"
    broken.loc[1, "maand"] = "2018-13"
    broken = pd.concat([broken, broken.iloc[[40]]])
    drop(platform, "reeks.csv", broken)
    drop(platform, "een.csv", rows("FIETS-2", "fietsers", 1, 1, 3.0))
    both = rows("FIETS-3", "fietsers", 2, 20, 0.0)
    both.loc[both["gebied"] == "G01", "ingreep_maand"] = "2019-05"
    drop(platform, "uiteenlopend.csv", both)
    direct_night(platform)
    return platform


def test_an_effect_is_estimated_and_published(platform: Platform) -> None:
    found = lake_table(platform, EFFECTS).set_index("deal").loc["FIETS-1"]
    assert found["opzet"] == "verschil_in_verschillen"
    assert found["effect_onder"] < 3.0 < found["effect_boven"]
    assert found["effect_onder"] > 0
    # Two months have an unreadable row in one area, so that no area has them.
    assert (found["maanden_voor"], found["maanden_na"]) == (10, 12)
    assert "2 maanden tellen niet mee" in found["toelichting"]


def test_what_cannot_be_read_is_set_aside_with_what_was_expected(platform: Platform) -> None:
    aside = quarantine(platform, CLEAN)
    reasons = aside.groupby("reden").size().to_dict()
    assert reasons == {"onleesbare_waarde": 2, "dubbel": 1}
    assert {*aside["toelichting"].dropna()} == {
        "waarde: getal met een punt verwacht",
        "maand: JJJJ-MM verwacht",
    }


def test_refusals_are_published_in_dutch(platform: Platform) -> None:
    found = lake_table(platform, EFFECTS).set_index("deal")
    assert found.loc[["FIETS-2", "FIETS-3"], "effect_status"].tolist() == ["niet_beschikbaar"] * 2
    assert "Eén gebied tegen één gebied" in found.loc["FIETS-2", "toelichting"]
    assert "niet in dezelfde maand" in found.loc["FIETS-3", "toelichting"]
    assert found.loc[["FIETS-2", "FIETS-3"], "effect"].isna().all()


def test_a_later_delivery_replaces_an_outcome(platform: Platform) -> None:
    drop(platform, "beter.csv", rows("FIETS-2", "fietsers", 1, 25, 3.0))
    direct_night(platform)
    found = lake_table(platform, EFFECTS).set_index("deal").loc["FIETS-2"]
    assert found["opzet"] == "placebo_over_controles" and found["bewijstrede"] == "met controle"
    assert (quarantine(platform, CLEAN)["reden"] == "vervangen").sum() == 48
