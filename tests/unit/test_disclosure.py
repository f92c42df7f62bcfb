from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koploper_pipelines.methods.disclosure import (
    AddsUp,
    DisclosureRules,
    complementary,
    may_not_be_shown,
    round_counts,
    suppress,
    violations,
)

RULES = DisclosureRules()
FIGURES = {"aantal_metingen": "status", "aantal_apparaten": "status"}
PROVINCE = AddsUp(groups=("maand",), part="gemeente_code", total="PV26", rows="aantal_metingen")

Rides = list[tuple[int, str, int, int]]


def table(cells: Iterable[tuple[str, int, int, float]], maand: int = 1) -> pd.DataFrame:
    """Cells given as (code, participants, rows, largest share), all still shown."""
    columns = ["gemeente_code", "aantal_apparaten", "aantal_metingen", "grootste_aandeel"]
    return pd.DataFrame(list(cells), columns=columns).assign(maand=maand, status="definitief")


def cells_of(rides: Rides) -> pd.DataFrame:
    """Municipalities and province by month, from rows a participant (maand, gemeente, participant, rows)."""
    raw = pd.DataFrame(rides, columns=["maand", "gemeente_code", "apparaat", "n"])
    both = pd.concat([raw, raw.assign(gemeente_code="PV26")])
    each = both.groupby(["maand", "gemeente_code", "apparaat"], as_index=False)["n"].sum()
    per_cell = each.groupby(["maand", "gemeente_code"])["n"].agg(["size", "sum", "max"]).reset_index()
    cells: pd.DataFrame = per_cell.assign(
        aantal_apparaten=per_cell["size"],
        aantal_metingen=per_cell["sum"],
        grootste_aandeel=per_cell["max"] / per_cell["sum"],
        status="definitief",
    ).drop(columns=["size", "sum", "max"])
    return cells


def hidden_codes(result: pd.DataFrame) -> set[str]:
    return set(result.loc[result["status"] == "onderdrukt", "gemeente_code"])


def determined(result: pd.DataFrame) -> list[int]:
    """Hidden cells whose number follows exactly from what is shown, by linear algebra on "parts = total"."""
    solved = []
    for _, month in result.groupby("maand"):
        unknown = month.index[month["aantal_metingen"].isna()]
        # One equation a month: the parts minus the total make zero.
        equation = np.where(month.loc[unknown, "gemeente_code"] == "PV26", -1.0, 1.0).reshape(1, -1)
        for place, label in enumerate(unknown):
            direction = np.zeros((1, len(unknown)))
            direction[0, place] = 1
            if np.linalg.matrix_rank(np.vstack([equation, direction])) == np.linalg.matrix_rank(equation):
                solved.append(label)
    return solved


rides_of_some_months = st.lists(
    st.tuples(
        st.integers(1, 2),
        st.sampled_from(["GM0307", "GM0310", "GM0339", "GM0344", "GM0589", "GM1904"]),
        st.integers(1, 14),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=90,
)


class TestOneCell:
    @pytest.mark.parametrize(
        ("participants", "share", "refused"),
        [
            (5, 0.30, False),
            (4, 0.25, True),
            (5, 0.31, True),
            (0, 0.0, True),
            (np.nan, 0.1, True),
            (9, np.nan, True),
        ],
    )
    def test_limits(self, participants: float, share: float, refused: bool) -> None:
        cells = table([("GM0344", 0, 100, 0.0)]).assign(aantal_apparaten=participants, grootste_aandeel=share)
        assert may_not_be_shown(cells, RULES).tolist() == [refused]

    def test_nullable_numbers_that_are_unknown_are_refused(self) -> None:
        cells = table([("GM0344", 9, 100, 0.1)]).assign(aantal_apparaten=pd.array([None], dtype="Int64"))
        assert may_not_be_shown(cells, RULES).tolist() == [True]

    def test_other_rules_for_opinions(self) -> None:
        cells = table([("GM0344", 9, 100, 0.25)])
        assert may_not_be_shown(cells, DisclosureRules(min_participants=10)).tolist() == [True]
        assert may_not_be_shown(cells, DisclosureRules(max_share=0.2)).tolist() == [True]


class TestSuppress:
    def test_figures_are_blank_and_the_status_says_so(self) -> None:
        cells = table([("GM0344", 9, 100, 0.2), ("GM0339", 2, 10, 0.6)])
        result = suppress(cells, RULES, figures=FIGURES, adds_up=None)
        assert result["status"].tolist() == ["definitief", "onderdrukt"]
        assert result["aantal_metingen"].tolist() == [100, pd.NA]
        assert str(result["aantal_metingen"].dtype) == "Int64"
        assert result["aantal_apparaten"].isna().tolist() == [False, True]
        assert cells["aantal_metingen"].tolist() == [100, 10], "the input is left alone"

    def test_each_figure_has_its_own_status_and_others_stay(self) -> None:
        cells = table([("GM0339", 2, 10, 0.6)]).assign(pm25=11.5, pm25_status="voorlopig", km=3.0)
        result = suppress(cells, RULES, figures={"pm25": "pm25_status"}, adds_up=None).iloc[0]
        assert np.isnan(result["pm25"])
        assert (result["pm25_status"], result["status"], result["km"]) == ("onderdrukt", "definitief", 3.0)

    def test_index_must_be_unique(self) -> None:
        cells = pd.concat([table([("GM0344", 9, 100, 0.2)])] * 2)
        with pytest.raises(ValueError, match="unique index"):
            suppress(cells, RULES, figures=FIGURES, adds_up=None)


class TestComplementary:
    def test_one_hidden_cell_takes_the_next_smallest_along(self) -> None:
        cells = table(
            [
                ("PV26", 40, 1_000, 0.1),
                ("GM0344", 30, 700, 0.1),
                ("GM0307", 9, 200, 0.2),
                ("GM0310", 6, 80, 0.25),
                ("GM0339", 2, 20, 0.6),
            ]
        )
        result = suppress(cells, RULES, figures=FIGURES, adds_up=PROVINCE)
        assert hidden_codes(result) == {"GM0339", "GM0310"}

    def test_two_cells_of_too_few_people_take_a_third_along(self) -> None:
        # Four and three participants may be the same four people.
        cells = table(
            [
                ("PV26", 40, 1_000, 0.1),
                ("GM0344", 30, 700, 0.1),
                ("GM0307", 9, 230, 0.2),
                ("GM0310", 4, 40, 0.25),
                ("GM0339", 3, 30, 0.34),
            ]
        )
        assert hidden_codes(suppress(cells, RULES, figures=FIGURES, adds_up=PROVINCE)) == {
            "GM0339",
            "GM0310",
            "GM0307",
        }

    def test_the_difference_is_not_one_persons_either(self) -> None:
        # GM0589 is 90% one commuter; together with the tiny GM0310 the difference would still be.
        cells = table(
            [
                ("PV26", 60, 9_000, 0.1),
                ("GM0344", 40, 4_000, 0.05),
                ("GM0307", 30, 3_990, 0.06),
                ("GM0310", 6, 10, 0.2),
                ("GM0589", 7, 1_000, 0.9),
            ]
        )
        result = suppress(cells, RULES, figures=FIGURES, adds_up=PROVINCE)
        assert hidden_codes(result) == {"GM0589", "GM0310", "GM0307"}

    def test_an_empty_part_protects_no_other(self) -> None:
        cells = table(
            [
                ("PV26", 40, 910, 0.1),
                ("GM0344", 30, 700, 0.1),
                ("GM0307", 9, 200, 0.2),
                ("GM0339", 9, 10, 0.5),
                ("GM0310", 0, 0, 0.0),
            ]
        )
        result = suppress(cells, RULES, figures=FIGURES, adds_up=PROVINCE)
        assert hidden_codes(result) == {"GM0310", "GM0339", "GM0307"}

    def test_a_total_of_one_part_is_hidden_with_it(self) -> None:
        cells = table([("PV26", 8, 100, 0.2), ("GM0344", 8, 100, 0.4)])
        assert hidden_codes(suppress(cells, RULES, figures=FIGURES, adds_up=PROVINCE)) == {"PV26", "GM0344"}

    def test_without_a_shown_total_nothing_follows(self) -> None:
        parts = [("GM0344", 30, 700, 0.1), ("GM0339", 2, 20, 0.6)]
        result = suppress(table(parts), RULES, figures=FIGURES, adds_up=PROVINCE)
        assert hidden_codes(result) == {"GM0339"}
        with_hidden_total = table([("PV26", 30, 720, 0.5), *parts])
        result = suppress(with_hidden_total, RULES, figures=FIGURES, adds_up=PROVINCE)
        assert hidden_codes(result) == {"GM0339", "PV26"}

    def test_a_part_held_back_for_another_reason_is_not_given_away(self) -> None:
        cells = table(
            [
                ("PV26", 40, 980, 0.1),
                ("GM0344", 30, 700, 0.1),
                ("GM0307", 9, 200, 0.2),
                ("GM0310", 8, 80, 0.2),
            ]
        )
        held_back = cells["gemeente_code"].eq("GM0307")
        hidden = complementary(cells, held_back, RULES, PROVINCE)
        assert cells.loc[hidden, "gemeente_code"].tolist() == ["GM0307", "GM0310"]

    def test_months_stand_apart(self) -> None:
        quiet = [("PV26", 40, 900, 0.1), ("GM0344", 30, 700, 0.1), ("GM0307", 9, 200, 0.2)]
        cells = pd.concat([table(quiet, 1), table([*quiet, ("GM0339", 2, 20, 0.6)], 2)], ignore_index=True)
        hidden = complementary(cells, may_not_be_shown(cells, RULES), RULES, PROVINCE)
        assert cells.loc[hidden, ["maand", "gemeente_code"]].to_numpy().tolist() == [
            [2, "GM0307"],
            [2, "GM0339"],
        ]

    @settings(max_examples=60, deadline=None)
    @given(rides_of_some_months)
    def test_nothing_can_be_subtracted_and_the_checker_agrees(self, rides: Rides) -> None:
        cells = cells_of(rides)
        result = suppress(cells, RULES, figures=FIGURES, adds_up=PROVINCE)
        assert determined(result) == []
        # The suppressor's own numbers stay in for the checker's rule on small differences.
        checked = result.assign(aantal_apparaten=cells["aantal_apparaten"])
        figures = {"aantal_metingen": "status"}
        assert violations(checked, RULES, figures=figures, adds_up=PROVINCE).empty
        assert violations(result, RULES, figures=FIGURES, adds_up=PROVINCE).empty

    @settings(max_examples=60, deadline=None)
    @given(rides_of_some_months)
    def test_what_a_reader_can_subtract_rests_on_enough_people(self, rides: Rides) -> None:
        result = suppress(cells_of(rides), RULES, figures=FIGURES, adds_up=PROVINCE)
        raw = pd.DataFrame(rides, columns=["maand", "gemeente_code", "apparaat", "n"])
        for maand, month in result.groupby("maand"):
            shown_total = month.loc[month["gemeente_code"] == "PV26", "aantal_metingen"].notna().any()
            concealed = month.loc[month["status"] == "onderdrukt", "gemeente_code"]
            if shown_total and len(concealed):
                behind = raw[(raw["maand"] == maand) & raw["gemeente_code"].isin(concealed)]
                assert len(concealed) >= 2
                assert behind["apparaat"].nunique() >= RULES.min_participants

    @settings(max_examples=60, deadline=None)
    @given(rides_of_some_months)
    def test_order_of_parts_of_unequal_size_does_not_matter(self, rides: Rides) -> None:
        cells = cells_of(rides).drop_duplicates(["maand", "aantal_metingen", "aantal_apparaten"])
        hidden = complementary(cells, may_not_be_shown(cells, RULES), RULES, PROVINCE)
        turned = cells.iloc[::-1]
        other = complementary(turned, may_not_be_shown(turned, RULES), RULES, PROVINCE)
        assert hidden.equals(other.sort_index())


class TestProtectionOff:
    """The checker finds what the suppressor was kept from doing."""

    CELLS = (
        ("PV26", 40, 1_000, 0.1),
        ("GM0344", 30, 700, 0.1),
        ("GM0307", 9, 280, 0.2),
        ("GM0339", 2, 20, 0.6),
    )

    def rules_broken(self, frame: pd.DataFrame, figures: dict[str, str] = FIGURES) -> set[str]:
        return set(violations(frame, RULES, figures=figures, adds_up=PROVINCE)["regel"])

    def test_no_suppression_at_all(self) -> None:
        assert self.rules_broken(table(self.CELLS)) == {"te_weinig_deelnemers", "dominantie"}

    def test_no_complementary_suppression(self) -> None:
        primary_only = suppress(table(self.CELLS), RULES, figures=FIGURES, adds_up=None)
        found = violations(primary_only, RULES, figures=FIGURES, adds_up=PROVINCE)
        assert set(found["regel"]) == {"afleidbaar"}
        assert primary_only.loc[found["rij"], "gemeente_code"].tolist() == ["PV26", "PV26"]
        assert determined(primary_only) == [3]

    def test_two_hidden_cells_that_may_be_the_same_people(self) -> None:
        cells = table([*self.CELLS, ("GM0589", 3, 30, 0.34)])
        primary_only = suppress(cells, RULES, figures={"aantal_metingen": "status"}, adds_up=None)
        assert self.rules_broken(primary_only, {"aantal_metingen": "status"}) == {"rest_te_klein"}

    def test_when_all_parts_are_hidden_the_difference_is_the_total(self) -> None:
        cells = table([("PV26", 7, 100, 0.2), ("GM0344", 4, 60, 0.3), ("GM0307", 4, 40, 0.3)])
        primary_only = suppress(cells, RULES, figures={"aantal_metingen": "status"}, adds_up=None)
        assert self.rules_broken(primary_only, {"aantal_metingen": "status"}) == set()

    def test_status_without_blanking(self) -> None:
        cells = table(self.CELLS)
        cells.loc[[2, 3], "status"] = "onderdrukt"
        assert "onderdrukt_maar_zichtbaar" in self.rules_broken(cells)

    def test_a_figure_left_out_of_the_blanking(self) -> None:
        cells = table(self.CELLS).assign(km=[90.0, 60.0, 20.0, 10.0])
        result = suppress(cells, RULES, figures=FIGURES, adds_up=PROVINCE)
        # Of a hidden cell the number of participants is gone, so a figure left there rests on nobody knows.
        found = violations(result, RULES, figures={**FIGURES, "km": "status"}, adds_up=PROVINCE)
        assert set(found["kolom"]) == {"km"}
        assert set(found["regel"]) == {"te_weinig_deelnemers", "dominantie", "onderdrukt_maar_zichtbaar"}

    @pytest.mark.parametrize("column", ["pm25_max_ug_m3", "minimum_snelheid", "hoogste_waarde"])
    def test_shown_extremes(self, column: str) -> None:
        safe = suppress(table(self.CELLS), RULES, figures=FIGURES, adds_up=PROVINCE)
        assert self.rules_broken(safe) == set()
        assert self.rules_broken(safe.assign(**{column: 3.0})) == {"uiterste_waarde"}
        assert self.rules_broken(safe.assign(**{column: np.nan})) == set()
        assert self.rules_broken(safe.assign(maximaal_toegestaan=1.0, grootste_deel=2.0)) == set()

    @settings(max_examples=60, deadline=None)
    @given(rides_of_some_months)
    def test_without_protection_the_checker_finds_every_refused_cell(self, rides: Rides) -> None:
        cells = cells_of(rides)
        found = violations(cells, RULES, figures={"aantal_metingen": "status"}, adds_up=PROVINCE)
        assert set(found["rij"]) == set(cells.index[may_not_be_shown(cells, RULES)])

    @settings(max_examples=60, deadline=None)
    @given(rides_of_some_months)
    def test_without_complementary_the_checker_finds_every_derivable_cell(self, rides: Rides) -> None:
        primary_only = suppress(cells_of(rides), RULES, figures=FIGURES, adds_up=None)
        found = violations(primary_only, RULES, figures={"aantal_metingen": "status"}, adds_up=PROVINCE)
        alone = found.loc[found["regel"] == "afleidbaar", "rij"]
        parts = [
            label for label in determined(primary_only) if primary_only.at[label, "gemeente_code"] != "PV26"
        ]
        assert set(primary_only.loc[alone, "maand"]) == set(primary_only.loc[parts, "maand"])


class TestRounding:
    @pytest.mark.parametrize(("base", "expected"), [(5, [0, 5, 10, 10]), (10, [0, 0, 10, 10])])
    def test_nearest_multiple(self, base: int, expected: list[int]) -> None:
        assert round_counts(pd.Series([2, 3, 8, 12]), base).tolist() == expected

    def test_halfway_favours_neither_side(self) -> None:
        counts = pd.Series(range(0, 100_000))
        assert (round_counts(counts, 10) - counts).mean() == pytest.approx(0, abs=0.01)
        # Always upwards would add half a count on average.
        upwards = (counts / 10 + 0.5).astype(int) * 10
        assert (upwards - counts).mean() == pytest.approx(0.5, abs=0.01)

    @given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(2, 100))
    def test_a_multiple_within_half_a_base(self, counts: list[int], base: int) -> None:
        rounded = round_counts(pd.Series(counts), base)
        assert (rounded % base == 0).all()
        assert ((rounded - pd.Series(counts)).abs() <= base / 2).all()

    def test_suppressed_counts_stay_missing(self) -> None:
        rounded = round_counts(pd.Series([12, None], dtype="Int64", index=["a", "b"]), 5)
        assert rounded.isna().tolist() == [False, True]
        assert str(rounded.dtype) == "Int64"

    def test_totals_may_differ_from_their_parts(self) -> None:
        parts = pd.Series([12, 12, 12])
        assert round_counts(parts, 5).sum() == 30
        assert round_counts(pd.Series([parts.sum()]), 5).tolist() == [35]

    def test_a_base_below_two_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="rounds nothing"):
            round_counts(pd.Series([1]), 1)
