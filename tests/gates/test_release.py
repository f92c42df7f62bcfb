"""What a release refuses: figures on too few people, of open months, against their status, or that disagree.

The tables are made on purpose as they must not be; each has passed its own gate, so that it is the release
that must notice. The warehouse is the real one, in its default form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from gatehouse import House, Row, arrow, column, contract

from koploper_pipelines.assets.publicatie.published import RELEASES
from koploper_pipelines.assets.publicatie.release import ReleaseRefused, publish
from koploper_pipelines.contracts import Contract, load_contract
from koploper_pipelines.gates.staging import Offered
from koploper_pipelines.gates.step import Platform, RulesFailed
from koploper_pipelines.gates.table import GatedTable, SameTotal, Step
from koploper_pipelines.resources.lake import WHOLE, UntrustedTable

FIGURES, TOTALS = "proef/published/cijfers", "proef/published/totalen"
FIGURE: dict[str, Any] = {"minimum": 0, "soort": "persoonscijfer"}
COLUMNS = {
    "maand": column("string", key=True, pattern="^[0-9]{4}-[0-9]{2}$"),
    "ritten": column("integer", **FIGURE),
    "ritten_status": column("string", values=["definitief", "onderdrukt", "niet_beschikbaar"]),
    "afstand_km": column("number", **FIGURE),
    "aantal_apparaten": column("integer", minimum=0),
    "metingen": column("integer", minimum=0),
}
CONTRACT = contract(FIGURES, COLUMNS)
TOTAL_CONTRACT = contract(
    TOTALS, {"wat": column("string", key=True), "metingen": column("integer", minimum=0)}
)
AGREES = SameTotal(
    ("proef_published_cijfers", "proef_published_totalen"),
    "SELECT sum(metingen) FROM proef_published_cijfers",
    "SELECT sum(metingen) FROM proef_published_totalen",
    "metingen",
)
SOUND: Row = {
    "maand": "2024-02",
    "ritten": 12,
    "ritten_status": "definitief",
    "afstand_km": 3.5,
    "aantal_apparaten": 5,
    "metingen": 100,
}
HIDDEN: Row = {
    **SOUND,
    "maand": "2024-01",
    "ritten": None,
    "afstand_km": None,
    "ritten_status": "onderdrukt",
    "aantal_apparaten": 2,
}
# The clock of the house stands at 20 March: February is closed, March is open.
OPEN = "2024-03"


@dataclass
class Shelf:
    """A house whose published tables can be given any rows."""

    house: House
    releases: int = 0

    def platform(self, totals: Sequence[SameTotal] = ()) -> Platform:
        return Platform(self.house.settings, self.house.tables, tuple(totals))

    def put(self, told: Contract, rows: Sequence[Row]) -> None:
        """Rows as a night makes them: of the inputs, code and rules of today."""
        made_of = self.house.platform.plan().provenance(self.house.tables[told.path], WHOLE)
        assert self.house.admit(told, rows, made_of=made_of).passed

    def announce(self) -> str:
        """Another release in the list of releases, as a night makes it."""
        self.releases += 1
        row = {
            "release": f"r20240320-{self.releases:06d}",
            "gemaakt_op": f"2024-03-20T03:00:{self.releases:02d}+00:00",
            "status": "voorlopig",
            "soort": "verversing",
            "aantal_tabellen": 2,
            "toelichting": "proef",
        }
        told = load_contract(RELEASES)
        outcome = self.house.admit(told, [row], controls={"releases_met_deze": 1})
        assert outcome.passed, outcome.report
        return str(row["release"])


def _unused(step: Step) -> Offered:
    raise AssertionError("the rows are put there by the test")


def _shelf(home: Path, *contracts: Contract) -> Shelf:
    tables = {c.path: GatedTable(c, _unused) for c in (*contracts, load_contract(RELEASES))}
    return Shelf(House(home, tables))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A sound release is current."""
    shelf = _shelf(tmp_path / "huis", CONTRACT, TOTAL_CONTRACT)
    shelf.put(CONTRACT, [SOUND, HIDDEN])
    shelf.put(TOTAL_CONTRACT, [{"wat": "alles", "metingen": 200}])
    release = shelf.announce()
    assert publish(shelf.platform([AGREES]))["uitkomst"] == "gepubliceerd"
    assert shelf.platform().warehouse.current() == release
    return shelf


def _stays(shelf: Shelf, message: str, totals: Sequence[SameTotal] = (AGREES,)) -> None:
    """The next release is refused with this message, and readers keep the one before."""
    warehouse = shelf.platform().warehouse
    before, seen = warehouse.current(), warehouse.read("proef_published_cijfers")
    shelf.announce()
    with pytest.raises(ReleaseRefused, match=message):
        publish(shelf.platform(totals))
    assert warehouse.current() == before
    assert warehouse.read("proef_published_cijfers").equals(seen)


def test_a_sound_release_follows_the_one_before(shelf: Shelf) -> None:
    shelf.put(CONTRACT, [{**SOUND, "ritten": 13}, HIDDEN])
    release = shelf.announce()
    assert publish(shelf.platform([AGREES]))["uitkomst"] == "gepubliceerd"
    assert publish(shelf.platform([AGREES]))["uitkomst"] == "niets nieuw"
    warehouse = shelf.platform().warehouse
    assert warehouse.current() == release
    assert 13 in warehouse.read("proef_published_cijfers")["ritten"].to_pylist()


@pytest.mark.parametrize("participants", [4, 0, None])
def test_figures_on_too_few_people_are_refused(shelf: Shelf, participants: int | None) -> None:
    shelf.put(CONTRACT, [{**SOUND, "aantal_apparaten": participants}, HIDDEN])
    _stays(shelf, "1 rows show figures on fewer than 5 participants")


def test_the_number_of_people_is_a_setting(shelf: Shelf) -> None:
    shelf.announce()
    strict = shelf.house.settings.model_copy(update={"min_participants": 6})
    with pytest.raises(ReleaseRefused, match="fewer than 6 participants"):
        publish(Platform(strict, shelf.house.tables))


def test_any_figure_counts(shelf: Shelf) -> None:
    """Also where only the second of the row's figures was left standing."""
    shelf.put(CONTRACT, [SOUND, {**HIDDEN, "afstand_km": 0.0}])
    _stays(shelf, "1 rows show figures on fewer than 5 participants")


def test_figures_of_an_open_month_are_refused(shelf: Shelf) -> None:
    shelf.put(CONTRACT, [{**SOUND, "maand": OPEN}, HIDDEN])
    _stays(shelf, f"figures of months that are still open: {OPEN}")


def test_process_counts_of_an_open_month_are_not(shelf: Shelf) -> None:
    process = {**HIDDEN, "maand": OPEN, "ritten_status": "niet_beschikbaar", "aantal_apparaten": None}
    shelf.put(CONTRACT, [{**SOUND, "metingen": 0}, {**process, "metingen": 200}])
    shelf.announce()
    assert publish(shelf.platform([AGREES]))["uitkomst"] == "gepubliceerd"


@pytest.mark.parametrize("status", ["onderdrukt", "niet_beschikbaar"])
def test_a_figure_that_its_status_calls_absent_is_refused(shelf: Shelf, status: str) -> None:
    shelf.put(CONTRACT, [{**SOUND, "ritten_status": status}, HIDDEN])
    _stays(shelf, "ritten is shown where its status says it is absent")


def test_figures_without_a_number_of_people_are_refused(tmp_path: Path) -> None:
    uncounted = contract(FIGURES, {n: c for n, c in COLUMNS.items() if n != "aantal_apparaten"})
    shelf = _shelf(tmp_path / "huis", uncounted)
    shelf.put(uncounted, [SOUND, HIDDEN])
    shelf.announce()
    with pytest.raises(ReleaseRefused, match="figures about people without the number of participants"):
        publish(shelf.platform())
    assert shelf.platform().warehouse.current() is None


def test_tables_that_disagree_are_refused(shelf: Shelf) -> None:
    shelf.put(TOTAL_CONTRACT, [{"wat": "alles", "metingen": 201}])
    _stays(shelf, r"metingen: 200 against 201 \(proef_published_cijfers and proef_published_totalen\)")


def test_a_table_that_lags_is_not_held_against_newer_ones(shelf: Shelf) -> None:
    """Its gate stayed closed: the other tables go on, and it is compared again when it has caught up."""
    shelf.put(TOTAL_CONTRACT, [{"wat": "alles", "metingen": 201}])
    waits = {"regels": TOTAL_CONTRACT.rules_hash, "code": "older"}
    shelf.house.admit(TOTAL_CONTRACT, [{"wat": "alles", "metingen": 201}], made_of=waits)
    assert [item.table for item in shelf.platform().plan().pending() if item.table == TOTALS]
    shelf.announce()
    assert publish(shelf.platform([AGREES]))["uitkomst"] == "gepubliceerd"
    shelf.put(TOTAL_CONTRACT, [{"wat": "alles", "metingen": 201}])
    _stays(shelf, "metingen: 200 against 201")


def test_all_that_is_wrong_is_said_at_once(shelf: Shelf) -> None:
    shelf.put(CONTRACT, [{**SOUND, "maand": OPEN, "aantal_apparaten": 1}])
    _stays(shelf, "fewer than 5.*still open.*100 against 200")


def test_a_table_that_no_gate_wrote_keeps_the_release_back(shelf: Shelf) -> None:
    from deltalake import write_deltalake

    release = shelf.platform().warehouse.current()
    shelf.announce()
    stranger = {**SOUND, "maand": "2023-12", "ritten": 666}
    write_deltalake(
        str(shelf.house.platform.lake.folder(FIGURES)), arrow(CONTRACT, [stranger]), mode="append"
    )
    with pytest.raises(UntrustedTable, match=FIGURES):
        publish(shelf.platform())
    assert shelf.platform().warehouse.current() == release


def test_a_table_that_breaks_todays_rules_keeps_the_release_back(shelf: Shelf) -> None:
    stricter = contract(
        TOTALS, {"wat": column("string", key=True), "metingen": column("integer", minimum=0, maximum=10)}
    )
    tables = {**shelf.house.tables, TOTALS: replace(shelf.house.tables[TOTALS], contract=stricter)}
    later = Shelf(shelf.house.reopened(tables=tables), releases=1)
    later.announce()
    with pytest.raises(RulesFailed, match="waarden_binnen_bereik"):
        publish(later.platform())
