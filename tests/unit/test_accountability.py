"""The rules of accountability: limits of the budget rule, counts over the doelenboom, figures done again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koploper_pipelines.methods.koploperdeals import accountability as acc
from koploper_pipelines.methods.koploperdeals.frames import frame

SCOPED, WHOLE = "zonder overhead", "met overhead"


# -- The budget rule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "realised", "expected"),
    [
        (100, 95.01, "groen"),
        (100, 104.99, "groen"),
        (100, 95, "oranje"),
        (100, 105, "oranje"),
        (100, 90, "oranje"),
        (100, 110, "oranje"),
        (100, 89.99, "rood"),
        (100, 110.01, "rood"),
        (528_359_000, 460_812_000, "rood"),
        # In binary 0.1 + 0.2 and 1.1 - 1 are not what they seem.
        (3, 3.15, "oranje"),
        (3, 3.3, "oranje"),
        (1.1, 1.21, "oranje"),
        (0.3, 0.315, "oranje"),
        (-100, -104, "groen"),
        (-100, -120, "rood"),
        (0, 0, "niet_te_bepalen"),
        (0, 50, "niet_te_bepalen"),
        (math.nan, 50, None),
        (50, math.nan, None),
    ],
)
def test_verdict_at_and_around_the_limits(budget: float, realised: float, expected: str | None) -> None:
    assert acc.budget_verdict([budget], [realised])[0] == expected


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**12), st.integers(0, 2 * 10**12))
def test_verdict_is_that_of_exact_arithmetic(budget_cents: int, realised_cents: int) -> None:
    """Cents as whole numbers, compared without any division."""
    gap = 100 * abs(realised_cents - budget_cents)
    expected = "groen" if gap < 5 * budget_cents else "rood" if gap > 10 * budget_cents else "oranje"
    assert acc.budget_verdict([budget_cents / 100], [realised_cents / 100])[0] == expected


def test_verdict_on_rounded_euros_would_be_another() -> None:
    """The rule broken on purpose: rounding to thousands first moves a deviation over a limit."""
    assert acc.budget_verdict([9_500.0], [9_499.0])[0] == "groen"
    assert acc.budget_verdict([round(9_500.0, -3)], [round(9_499.0, -3)])[0] == "oranje"


def amount(budget: float, realised: float, **more: Any) -> dict[str, Any]:
    """A row of the sheet of money, not rounded."""
    return {
        "soort": "lasten",
        "begroting_basis": "na_wijziging",
        "begroting_na_wijziging_eur": budget,
        "gerealiseerd_eur": realised,
        "afgerond_op_eur": 0,
        **more,
    }


def test_lower_limit_is_off_by_default_and_both_verdicts_are_kept() -> None:
    records = frame(
        "geld",
        [
            amount(200_000, 120_000),
            amount(200_000, 100_000),
            amount(200_000, 100_000, soort="baten"),
        ],
    )
    off, on = acc.money(records, None), acc.money(records, 100_000)
    assert off["oordeel_zonder_ondergrens"].tolist() == ["rood", "rood", None]
    assert off["oordeel_met_ondergrens"].isna().all()
    assert on["oordeel_zonder_ondergrens"].tolist() == ["rood", "rood", None]
    # 80,000 is below the limit, 100,000 is not below it.
    assert on["oordeel_met_ondergrens"].tolist() == ["groen", "rood", None]


def test_budget_after_changes_or_the_first_one() -> None:
    both = {"begroting_primair_eur": 100.0, "begroting_na_wijziging_eur": 200.0, "gerealiseerd_eur": 200.0}
    rows = [
        {"soort": "lasten", "afgerond_op_eur": 0, "begroting_basis": b, **both}
        for b in ("na_wijziging", "primair")
    ]
    made = acc.money(frame("geld", rows), None)
    assert made["oordeel_zonder_ondergrens"].tolist() == ["groen", "rood"]
    assert made["begroting_eur"].tolist() == [200.0, 100.0]


@pytest.mark.parametrize(
    ("published", "rounded_to", "is_same"),
    [
        (67_547_000, 1000, True),
        (67_548_000, 1000, True),
        (67_549_000, 1000, False),
        (65_212_000, 1000, False),
        (67_547_001, 0, False),
        (None, 1000, None),
    ],
)
def test_published_deviation_against_the_computed_one(
    published: float | None, rounded_to: int, is_same: bool | None
) -> None:
    told = {"afwijking_gepubliceerd_eur": published, "afgerond_op_eur": rounded_to}
    row = amount(528_359_000, 460_812_000, **told)
    made = acc.money(frame("geld", [row]), None)
    found = made["is_afwijking_gelijk"].iloc[0]
    assert (None if pd.isna(found) else bool(found)) == is_same
    assert made["afwijking_berekend_eur"].iloc[0] == 67_547_000


# -- The doelenboom ------------------------------------------------------------------------------------------


def node(
    code: str, level: str, above: str | None, first: int = 2022, last: int | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "code": code,
        "niveau": level,
        "naam": f"naam {code}",
        "hoort_bij": above,
        "geldig_van": first,
        "geldig_tot": last,
        "is_overhead": False,
        "is_voorbeeld": False,
        **more,
    }


TREE = [
    node("1", "programma", None, 2020),
    node("O", "programma", None, 2022, is_overhead=True),
    node("1.1", "beleidsdoel", "1", 2022, 2022),
    # In 2023 the same code is another goal.
    node("1.1", "beleidsdoel", "1", 2023, None, naam="andere naam"),
    node("O.1", "beleidsdoel", "O"),
    node("1.1.1", "meerjarendoel", "1.1"),
    node("r1", "beoogd_resultaat", "1.1.1"),
    node("r2", "beoogd_resultaat", "1.1.1"),
    # Under a programme at once, as where the source gives only a total.
    node("r3", "beoogd_resultaat", "1"),
]


def judged(
    *colours: tuple[str, str], year: int = 2022, question: str = "prestatie", scope: str = SCOPED
) -> pd.DataFrame:
    rows = [
        {
            "jaar": year,
            "document": "jaarverslag",
            "vraag": question,
            "bereik": scope,
            "code": c,
            "oordeel": o,
            "is_voorbeeld": False,
        }
        for c, o in colours
    ]
    return frame("oordelen", rows)


def counts(nodes: pd.DataFrame, rows: pd.DataFrame) -> dict[tuple[str, str, str], tuple[int, ...]]:
    found = acc.judgement_counts(nodes, rows)
    return {
        (r["niveau"], r["code"], r["geteld"]): (r["groen"], r["oranje"], r["rood"], r["totaal"])
        for r in found.to_dict("records")
    }


def test_results_count_at_every_level_above_them_once() -> None:
    found = counts(frame("doelenboom", TREE), judged(("r1", "groen"), ("r2", "rood"), ("r3", "oranje")))
    assert found == {
        ("provincie", "totaal", "beoogd_resultaat"): (1, 1, 1, 3),
        ("programma", "1", "beoogd_resultaat"): (1, 1, 1, 3),
        ("beleidsdoel", "1.1", "beoogd_resultaat"): (1, 0, 1, 2),
        ("meerjarendoel", "1.1.1", "beoogd_resultaat"): (1, 0, 1, 2),
    }


def test_judgement_on_a_goal_is_kept_and_not_computed() -> None:
    nodes = frame("doelenboom", TREE)
    rows = judged(("r1", "groen"), ("r2", "groen"), ("1.1", "rood"))
    made = acc.account(nodes, rows, frame("gepubliceerde_cijfers", []))
    goal = made[(made["niveau"] == "beleidsdoel") & (made["geteld"] == "beoogd_resultaat")].iloc[0]
    assert (goal["groen"], goal["oordeel"]) == (2, "rood")
    # The goal's own judgement counts among goals, not among results.
    assert counts(nodes, rows)[("provincie", "totaal", "beleidsdoel")] == (0, 0, 1, 1)
    assert counts(nodes, rows)[("provincie", "totaal", "beoogd_resultaat")] == (2, 0, 0, 2)


def test_goals_with_and_without_overhead() -> None:
    found = acc.goal_counts(frame("doelenboom", TREE), pd.Series([2022, 2021]))
    totals = found[found["code"] == "totaal"].set_index(["jaar", "bereik"])["doelen"].to_dict()
    # In 2021 there is a programme and no goal yet: nothing to count.
    assert totals[(2022, SCOPED)] == 1
    assert totals[(2022, WHOLE)] == 2


def test_name_of_a_code_is_that_of_the_year() -> None:
    nodes = frame("doelenboom", TREE)
    rows = pd.concat([judged(("1.1", "groen")), judged(("1.1", "groen"), year=2023)], ignore_index=True)
    made = acc.account(nodes, rows, frame("gepubliceerde_cijfers", []))
    own = made[made["niveau"] == "beleidsdoel"].set_index("jaar")["naam"].to_dict()
    assert own == {2022: "naam 1.1", 2023: "andere naam"}


def test_code_that_changed_tells_what_it_was_since_then() -> None:
    places = pd.DataFrame({"jaar": [2023, 2024, 2025, 2025], "code": ["7.4", "7.4", "7.4", "8.5"]})
    changes = frame(
        "was_wordt",
        [
            {"soort": "doel", "was": "8.5", "wordt": "7.4", "jaar": 2024},
            {"soort": "instrument", "was": "x", "wordt": "8.5", "jaar": 2020},
        ],
    )
    assert acc.earlier_code(places, changes).fillna("").tolist() == ["", "8.5", "8.5", ""]


# -- Figures done again --------------------------------------------------------------------------------------


def published(measure: str, value: float, **more: Any) -> dict[str, Any]:
    """A published figure over all programmes."""
    occasion = {"jaar": 2022, "document": "jaarverslag", "vraag": "prestatie", "bereik": SCOPED}
    return {**occasion, "code": "totaal", "maat": measure, "waarde": value, **more}


def recomputed(measure: str, value: float, of: int | None = None, *colours: tuple[str, str]) -> str:
    nodes = frame("doelenboom", TREE)
    rows = judged(*colours) if colours else judged(("r1", "groen"), ("r2", "oranje"), ("r3", "rood"))
    told = frame(
        "gepubliceerde_cijfers",
        [published(measure, value, van=of, vraag="prestatie" if of is None else "planning")],
    )
    found = acc.recomputed(told, acc.judgement_counts(nodes, rows), acc.delay_causes(nodes, rows))
    return str(found["uitkomst"].iloc[0])


@pytest.mark.parametrize(
    ("measure", "value", "outcome"),
    [
        ("groen_pct", 33, "klopt"),
        ("groen_pct", 33.3, "klopt"),
        ("groen_pct", 33.4, "wijkt_af"),
        ("groen_pct", 34, "wijkt_af"),
        ("gerealiseerd_pct", 67, "klopt"),
        ("oranje_van_gerealiseerd_pct", 50, "klopt"),
        ("vertraagd", 2, "klopt"),
        ("vertraagd", 3, "wijkt_af"),
        ("vertraagd_corona", 1, "niet_na_te_rekenen"),
    ],
)
def test_published_figures_against_the_counts(measure: str, value: float, outcome: str) -> None:
    assert recomputed(measure, value) == outcome


@pytest.mark.parametrize(
    ("percent", "of", "outcome"),
    [
        (47, 45, "niet_na_te_rekenen"),
        (6, 45, "onmogelijk"),
        (72, 46, "niet_na_te_rekenen"),
        (73, 46, "onmogelijk"),
        (0, 45, "niet_na_te_rekenen"),
        (100, 45, "niet_na_te_rekenen"),
    ],
)
def test_percentage_that_no_whole_number_gives(percent: float, of: int, outcome: str) -> None:
    assert recomputed("rood_pct", percent, of) == outcome
    whole = {round(100 * k / of) for k in range(of + 1)}
    assert (percent in whole) == (outcome != "onmogelijk")


def test_causes_of_delay_add_up_or_are_a_finding() -> None:
    def told(*values: float) -> str:
        measures = ("vertraagd", *acc.PARTS)
        rows = [published(m, v) for m, v in zip(measures, values, strict=True)]
        return str(acc.parts_that_do_not_add_up(frame("gepubliceerde_cijfers", rows))["uitkomst"].iloc[0])

    assert told(145, 6, 6, 133) == "klopt"
    assert told(145, 6, 6, 132) == "wijkt_af"


def test_control_values_follow_the_level_that_the_question_counts() -> None:
    nodes = frame("doelenboom", TREE)
    rows = pd.concat(
        [
            judged(("r1", "groen"), ("1.1", "rood")),
            judged(("1.1", "groen"), ("1.1.1", "rood"), question="doen"),
        ],
        ignore_index=True,
    )
    asked = [
        ("prestatie", "totaal", "groen", 1),
        ("prestatie", "totaal", "rood", 0),
        ("doen", "totaal", "groen", 1),
        ("doen", "totaal", "totaal", 1),
        ("doen", "totaal", "doelen", 1),
        ("doen", "1", "meerjarendoelen", 1),
        ("planning", "totaal", "rood", 0),
    ]
    controls = frame(
        "controletotalen",
        [
            {
                "jaar": 2022,
                "document": "jaarverslag",
                "vraag": q,
                "bereik": SCOPED,
                "code": c,
                "telt": t,
                "aantal": 0,
            }
            for q, c, t, _ in asked
        ],
    )
    assert np.array_equal(acc.control_values(nodes, rows, controls), [n for *_, n in asked])
