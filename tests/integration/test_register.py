"""The register of deals: a workbook that is taken whole or refused whole, and what comes of the demo's.

The published tables of 2022 and of the summer of 2023 are those of the province's own pages, to the number.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from openpyxl import load_workbook
from openpyxl.workbook import Workbook
from toolbox import WARNINGS_OF_OTHERS, direct_night, installation, lake_table, published
from typer.testing import CliRunner

from koploper_pipelines import cli
from koploper_pipelines.assets.koploperdeals import register_template
from koploper_pipelines.assets.koploperdeals.published.verantwoording import RESULTS_AGREE
from koploper_pipelines.assets.koploperdeals.raw import workbook
from koploper_pipelines.assets.koploperdeals.raw.register import REGISTER
from koploper_pipelines.gates.staging import SchemaMismatch
from koploper_pipelines.gates.step import Platform, Report, run_table
from koploper_pipelines.methods.koploperdeals.checks import Finding
from koploper_pipelines.methods.koploperdeals.schema import BY_NAME, SHEETS
from koploper_pipelines.simulation.koploperdeals import budget, simulate, write_register

pytestmark = WARNINGS_OF_OTHERS
EXPERIMENT = "koploperdeals"
TABLE_2022 = {
    # Jaarverslag 2022, p30077: doelen, meerjarendoelen, prestaties, groen, oranje, rood.
    "1": (3, 12, 39, 29, 9, 1),
    "2": (5, 11, 48, 31, 10, 7),
    "3": (5, 21, 70, 58, 10, 2),
    "4": (4, 13, 44, 25, 18, 1),
    "5": (8, 31, 110, 63, 42, 5),
    "6": (1, 5, 11, 8, 3, 0),
    "7": (3, 9, 14, 11, 3, 0),
    "8": (5, 17, 58, 41, 15, 2),
    "9": (8, 21, 63, 46, 17, 0),
    "totaal": (42, 140, 457, 312, 127, 18),
}
SUMMER_2023 = {"doen": (37, 9, 0), "planning": (34, 12, 0), "geld": (31, 9, 6)}


@pytest.fixture(scope="module")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_register(tmp_path_factory.mktemp("demo") / "register.xlsx", budget.sheets())


@pytest.fixture(scope="module")
def demo(demo_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """An installation after a night with the demo's register."""
    platform = installation(tmp_path_factory.mktemp("home"))
    deliver(platform, demo_file)
    night = direct_night(platform)
    assert (night.refusals, night.held_back) == ([], {})
    return platform


@pytest.fixture(scope="module")
def tables(demo: Platform) -> dict[str, pd.DataFrame]:
    return published(demo)


def deliver(platform: Platform, file: Path, name: str = "register.xlsx") -> Path:
    inbox = platform.settings.inbox / EXPERIMENT
    inbox.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(file, inbox / name))


def landed(platform: Platform) -> Report:
    return run_table(platform, platform.tables[REGISTER], run_id="hand")


# -- The account -------------------------------------------------------------------------------------------


def test_table_of_2022_to_the_number(tables: dict[str, pd.DataFrame]) -> None:
    rows = tables["verantwoording"].query(
        "jaar == 2022 and document == 'jaarverslag' and vraag == 'prestatie' and bereik == 'zonder overhead'"
        " and niveau in ['programma', 'provincie']"
    )
    columns = ["doelen", "meerjarendoelen", "totaal", "groen", "oranje", "rood"]
    found = {str(r["code"]): tuple(int(r[c]) for c in columns) for r in rows.to_dict("records")}
    assert found == TABLE_2022
    assert set(rows["totaal_status"]) == {"definitief"}


def test_summer_note_of_2023_to_the_number(tables: dict[str, pd.DataFrame]) -> None:
    rows = tables["verantwoording"].query(
        "jaar == 2023 and document == 'zomernota' and niveau == 'provincie'"
    )
    assert set(rows["bereik"]) == {"met overhead"}
    found = {r["vraag"]: (int(r["groen"]), int(r["oranje"]), int(r["rood"])) for r in rows.to_dict("records")}
    assert found == SUMMER_2023
    assert set(rows["totaal"]) == {46}
    assert set(rows["doelen"]) == {46}
    assert set(rows["meerjarendoelen"]) == {157}
    # No figure per programme is invented where the source gives a total.
    programmes = tables["verantwoording"].query("jaar == 2023 and niveau == 'programma'")
    assert set(programmes["code"]) == {"niet toegedeeld"}


@pytest.mark.parametrize(
    ("year", "expected"),
    [(2020, (331, 223, 80, 28)), (2021, (497, 333, 146, 18)), (2022, (457, 312, 127, 18))],
)
def test_totals_of_the_years(
    tables: dict[str, pd.DataFrame], year: int, expected: tuple[int, int, int, int]
) -> None:
    (row,) = (
        tables["verantwoording"]
        .query(f"jaar == {year} and niveau == 'provincie' and vraag == 'prestatie'")
        .to_dict("records")
    )
    assert tuple(int(row[c]) for c in ("totaal", "groen", "oranje", "rood")) == expected


def test_counts_of_every_level_add_up_to_the_level_above(tables: dict[str, pd.DataFrame]) -> None:
    rows = tables["verantwoording"].query("jaar == 2022 and vraag == 'prestatie'")
    totals = rows.groupby("niveau")[["groen", "oranje", "rood", "totaal"]].sum()
    assert totals.drop_duplicates().to_numpy().tolist() == [[312, 127, 18, 457]]
    assert set(totals.index) == {"provincie", "programma", "beleidsdoel", "meerjarendoel"}


def test_known_inconsistencies_are_found_and_nothing_else(tables: dict[str, pd.DataFrame]) -> None:
    money = tables["geld_per_doel"].set_index("post")
    block = money.loc["lasten, tabel"]
    assert (block["afwijking_gepubliceerd_eur"], block["afwijking_berekend_eur"]) == (65_212_000, 67_547_000)
    assert (round(block["afwijking_pct"], 1), block["oordeel"], block["is_afwijking_gelijk"]) == (
        12.8,
        "rood",
        0,
    )
    assert block["bevinding"].startswith(
        "afwijking lasten, tabel: gepubliceerd 65212000, berekend 67547000;"
        " de gepubliceerde afwijking is niet begroting min realisatie; begroting lasten: "
    )
    # The same page gives programme 9 two budgets.
    assert money.loc["lasten, tekst"]["bevinding"] == (
        "begroting lasten: gepubliceerd 528359000, berekend 14120000;"
        " hetzelfde document noemt voor deze code twee begrotingen"
    )
    assert money["bevinding"].notna().sum() == 2
    found = tables["verantwoording"].dropna(subset=["bevinding"])
    # 6% of 45 goals is no whole number of goals.
    assert found[["jaar", "vraag", "code"]].to_numpy().tolist() == [[2020, "planning", "totaal"]]


def test_release_with_two_totals_of_results_would_be_refused(tables: dict[str, pd.DataFrame]) -> None:
    def totals(shown: dict[str, pd.DataFrame]) -> tuple[int, int]:
        with duckdb.connect() as con:
            for name in RESULTS_AGREE.tables:
                con.register(name, shown[name])
            return tuple(con.sql(q).fetchall()[0][0] for q in (RESULTS_AGREE.left, RESULTS_AGREE.right))

    assert totals(tables) == (331 + 497 + 457,) * 2
    results = tables["beoogde_resultaten"]
    lost = results.drop(index=results.index[results["oordeel"].notna()][0])
    left, right = totals({**tables, "beoogde_resultaten": lost})
    assert left - right == 1


def test_differences_with_what_was_published_warn_in_the_quality_table(
    tables: dict[str, pd.DataFrame],
) -> None:
    quality = tables["datakwaliteit"].set_index(["tabel", "regel"])
    said = quality.loc[("koploperdeals/evaluation/bevindingen", "gepubliceerd_is_berekend")]
    assert (said["oordeel"], said["ernst"]) == ("niet_geslaagd", "warning")
    others = quality.drop(index=said.name)
    own = others[others.index.get_level_values("tabel").str.startswith(EXPERIMENT)]
    assert set(own["oordeel"]) == {"geslaagd"}


def test_what_is_invented_is_marked(tables: dict[str, pd.DataFrame]) -> None:
    results = tables["beoogde_resultaten"].query("herkomst == 'register'")
    real = results[results["is_voorbeeld"] == 0]
    assert sorted(real["code"]) == [f"9.7.4-2021-{n}" for n in range(1, 6)]
    assert set(real["oordeel_status"]) == {"niet_beschikbaar"}
    plan = tables["koploperdeals_plan_en_realisatie"].dropna(subset=["afgesproken"])
    assert len(plan) > 0
    assert (plan["is_voorbeeld"] == 1).all()


# -- The portfolio -------------------------------------------------------------------------------------------


def test_deals_of_the_demo(tables: dict[str, pd.DataFrame]) -> None:
    deals = tables["koploperdeals"].set_index("deal")
    assert list(deals["naam"]) == ["Snuffelfiets", "Slimme Participatie", "Taggen en Gamen"]
    assert set(deals["instrument_nu"]) == {"etalageproject"}
    assert deals.loc["SF", "eerdere_naam"] == "Fietsend Meetnet"
    assert deals.loc["TG", ["is_op_tijd", "budget_oordeel"]].tolist() == [0, "groen"]
    assert (deals.loc["SF", "leidde_tot"], deals.loc["SP", "generatie"]) == (1, 1)
    plan = tables["koploperdeals_plan_en_realisatie"].set_index(["jaar", "tranche"])
    assert plan.loc[(2021, "alle"), ["afgesproken", "gestart", "verschil"]].tolist() == [2, 1, -1]


def test_few_deals_give_a_list_and_no_curve(tables: dict[str, pd.DataFrame]) -> None:
    funnel = tables["koploperdeals_trechter"]
    assert set(funnel["onderdeel"]) == {"stap", "lijst"}
    assert funnel["mediaan_dagen"].isna().all()


def test_every_year_of_a_deal_tells_of_use(tables: dict[str, pd.DataFrame]) -> None:
    use = tables["gebruik_in_beleid"]
    years = use.groupby("deal")["jaar"].agg(["min", "max", "nunique"]).loc["SF"].tolist()
    assert years == [2019, 2023, 5]
    assert use.query("deal == 'SF'")["gebruik"].tolist().count("geen gebruik bekend") == 4


def test_questions_without_data_say_which_link_is_missing(tables: dict[str, pd.DataFrame]) -> None:
    questions = tables["beleidsvragen"].set_index("beleidsvraag")["dekking"]
    # This installation has no tables of experiments.
    assert questions.to_dict() == {
        "B1": "tabel_bestaat_niet",
        "B2": "tabel_bestaat_niet",
        "B3": "tabel_bestaat_niet",
        "B4": "geen_indicator",
        "B5": "geen_datavraag",
    }


def test_no_person_is_named_anywhere(demo: Platform, tables: dict[str, pd.DataFrame]) -> None:
    persons = re.compile("A. Voorbeeld|C. Voorbeeld|Beoordelaar [123]")
    for name, rows in tables.items():
        assert not rows.astype(str).apply(lambda c: c.str.contains(persons)).any().any(), name
    raw = lake_table(demo, REGISTER)
    assert not raw["waarden"].str.contains(persons).any()
    scores = raw[raw["blad"] == "scores"]["waarden"].str.extract('"beoordelaar": "([0-9a-f]+)"')[0]
    assert scores.str.fullmatch("[0-9a-f]{32}").all()
    # The same person is the same code: agreement between assessors can be told.
    assert scores.nunique() == 3
    published_hashes = set(scores)
    for name, rows in tables.items():
        assert not rows.astype(str).isin(published_hashes).any().any(), name


# -- The template --------------------------------------------------------------------------------------------


@pytest.fixture
def empty(tmp_path: Path) -> Workbook:
    register_template.write(tmp_path / "register.xlsx")
    return load_workbook(tmp_path / "register.xlsx")


def test_template_has_lists_explanations_and_examples(empty: Workbook) -> None:
    explained = {(r[0], r[1]): r for r in empty["uitleg"].iter_rows(values_only=True)}
    for sheet in SHEETS:
        header = [c.value for c in empty[sheet.name][1]]
        assert header == [f.name for f in sheet.fields]
        assert all(c.comment for c in empty[sheet.name][1])
        offered = {
            str(v.sqref).split("2:")[0]: v.formula1 for v in empty[sheet.name].data_validations.dataValidation
        }
        assert all(v.showInputMessage for v in empty[sheet.name].data_validations.dataValidation)
        for cell, field in zip(empty[sheet.name][1], sheet.fields, strict=True):
            assert explained[(sheet.name, field.name)][5] == field.example
            wants = bool(field.values or field.refers or field.kind == "janee")
            assert (cell.column_letter in offered) == wants, (sheet.name, field.name)
            if wants:
                named, place = offered[cell.column_letter].split("!")
                values = [c.value for (c,) in empty[named][place.replace("$", "")]]
                expected = field.values or ("ja", "nee")
                assert values == list(expected) if not field.refers else named == field.refers


def test_lists_of_the_template_are_those_that_are_accepted(empty: Workbook) -> None:
    lists = {c[0]: [v for v in c[1:] if v is not None] for c in empty["lijsten"].iter_cols(values_only=True)}
    for sheet in SHEETS:
        for field in sheet.fields:
            if field.values:
                assert lists[f"{sheet.name}.{field.name}"] == list(field.values)


def test_empty_template_only_lacks_its_day(tmp_path: Path) -> None:
    register_template.write(tmp_path / "register.xlsx")
    found = workbook.read(tmp_path / "register.xlsx", "register.xlsx").findings
    assert [(f.sheet, f.found) for f in found] == [("register", "0 rijen")]


def test_command_writes_the_template_and_never_over_a_register(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    made = runner.invoke(cli.app, ["register", "template"], catch_exceptions=False)
    assert made.exit_code == 0
    assert "inbox/koploperdeals" in made.stdout
    assert set(load_workbook(tmp_path / "register.xlsx").sheetnames) == {"uitleg", "lijsten", *BY_NAME}
    before = (tmp_path / "register.xlsx").read_bytes()
    for arguments, said in (
        ([], "never overwritten"),
        (["--to", "register.ods"], "does not end in .xlsx"),
        (["--to", "weg/register.xlsx"], "is no folder"),
    ):
        refused = runner.invoke(cli.app, ["register", "template", *arguments], catch_exceptions=False)
        assert refused.exit_code == 2
        assert said in " ".join(re.sub(r"[│╭╮╰╯─]", " ", refused.stderr).split())
    assert (tmp_path / "register.xlsx").read_bytes() == before


# -- A workbook with mistakes --------------------------------------------------------------------------------


def at(book: Workbook, sheet: str, column: str, **key: Any) -> tuple[int, int]:
    """Place of a column in the row with these values."""
    names = [f.name for f in BY_NAME[sheet].fields]
    for row in range(2, book[sheet].max_row + 1):
        if all(book[sheet].cell(row, names.index(k) + 1).value == v for k, v in key.items()):
            return row, names.index(column) + 1
    raise LookupError(f"{sheet}: {key}")


class Spoiler:
    """Puts mistakes in a workbook and remembers where a finding is expected."""

    def __init__(self, book: Workbook) -> None:
        self.book = book
        self.expected: list[tuple[str, int | None, str | None]] = []
        self.formula_errors: list[tuple[str, str]] = []

    def put(self, sheet: str, column: str, value: Any, number_format: str | None = None, **key: Any) -> None:
        row, number = at(self.book, sheet, column, **key)
        cell = self.book[sheet].cell(row, number)
        cell.value = value
        if number_format:
            cell.number_format = number_format
        self.expected.append((sheet, row, column))

    def add(self, sheet: str, wrong: str, **values: Any) -> None:
        row = self.book[sheet].max_row + 1
        for number, field in enumerate(BY_NAME[sheet].fields, start=1):
            self.book[sheet].cell(row, number, values.get(field.name))
        self.expected.append((sheet, row, wrong))

    def save(self, path: Path) -> Path:
        self.book.save(path)
        for sheet, reference in self.formula_errors:
            _cache_an_error(path, sheet, reference, self.book)
        return path


def _cache_an_error(path: Path, sheet: str, reference: str, book: Workbook) -> None:
    """Write the outcome of a formula as Excel keeps it; openpyxl writes formulas without their outcome."""
    part = f"xl/worksheets/sheet{book.sheetnames.index(sheet) + 1}.xml"
    with zipfile.ZipFile(path) as source:
        contents = {i: source.read(i) for i in source.namelist()}
    pattern = rf'<c r="{reference}"([^>]*)><f>([^<]*)</f><v ?/?>(</v>)?</c>'
    text, number = re.subn(
        pattern, rf'<c r="{reference}"\1 t="e"><f>\2</f><v>#DIV/0!</v></c>', contents[part].decode()
    )
    assert number == 1
    contents[part] = text.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in contents.items():
            target.writestr(name, content)


def forty_mistakes(spoil: Spoiler) -> None:
    book = spoil.book
    # Single cells.
    spoil.put("deals", "uitkomst", "lopend", deal="SP")
    spoil.put("deals", "gestart_op", "2021-04-01", deal="TG")
    spoil.put("deals", "begroot_eur", "80.000,00", deal="TG")
    spoil.put("deals", "is_voorbeeld", "misschien", deal="SF")
    spoil.put("deals", "toelichting", "bel 06-12345678", deal="TG")
    spoil.put("criteria", "gewicht_pct", 1, "0%", criterium="relevantie")
    spoil.put("gepubliceerde_cijfers", "waarde", "28%", jaar=2022, maat="oranje_pct")
    spoil.put("uitvoeringsplan", "jaar", "2022", tranche="T2")
    spoil.put("uitvoeringsplan", "afgesproken_deals", "=1+1", tranche="T1")
    spoil.put("was_wordt", "jaar", 1921, soort="doel")
    spoil.put("leerpunten", "datum", datetime(2022, 6, 30, 13, 45), leerpunt="L2")
    spoil.put("leerpunten", "tekst", "@SUM(A1:A9)", leerpunt="L1")
    spoil.put("afspraken", "gemaakt_op", 43803, "0", afspraak="D1")
    spoil.put("afspraken", "toelichting", '=HYPERLINK("http://voorbeeld.invalid","klik")', afspraak="D1")
    spoil.put("aanvragen", "titel", None, aanvraag="A1")
    spoil.put("aanvragen", "tranche", "T1 ", aanvraag="A2")
    spoil.put("controletotalen", "aantal", 39.5, code="1", telt="totaal")
    spoil.put("geld", "begroting_na_wijziging_eur", -5, post="baten, tekst")
    spoil.put("geld", "gerealiseerd_eur", "=1/0", post="lasten, tabel")
    row, column = at(book, "geld", "gerealiseerd_eur", post="lasten, tabel")
    spoil.formula_errors.append(("geld", book["geld"].cell(row, column).coordinate))
    # The sheet.
    book["partners"].merge_cells("B2:B3")
    spoil.expected.append(("partners", 2, None))
    book["organisaties"].row_dimensions[3].hidden = True
    spoil.expected.append(("organisaties", 3, None))
    book["gebruik"].column_dimensions["F"].hidden = True
    spoil.expected.append(("gebruik", None, "cijfer"))
    book["gebruik"].cell(1, 7).value = None
    spoil.expected.append(("gebruik", 1, "release"))
    book["vragen"].cell(1, 11, "opmerking")
    spoil.expected.append(("vragen", 1, None))
    book.create_sheet("aantekeningen")
    spoil.expected.append(("aantekeningen", None, None))
    book["scores"].sheet_state = "hidden"
    spoil.expected.append(("scores", None, None))
    # Over cells and sheets.
    spoil.add("organisaties", "organisatie", organisatie="RIVM", naam="nog eens", soort="rijk")
    spoil.add("partners", "organisatie", deal="TG", organisatie="Onbekend BV", rol="trekker")
    node = {"naam": "x", "is_voorbeeld": "ja"}
    spoil.add(
        "doelenboom", "geldig_van", code="3", niveau="programma", geldig_van=2023, geldig_tot=2024, **node
    )
    spoil.add("doelenboom", "hoort_bij", code="X1", niveau="beleidsdoel", geldig_van=2022, **node)
    spoil.add(
        "doelenboom",
        "hoort_bij",
        code="X2",
        niveau="beleidsdoel",
        hoort_bij="9.7",
        geldig_van=2021,
        geldig_tot=2022,
        **node,
    )
    twice = {
        "naam": "x",
        "instrument": "koploperdeal",
        "vraageigenaar": "x",
        "doel": "9.7.4",
        "uitkomst": "niet_gestart",
    }
    spoil.add("deals", "tranche", deal="TG", tranche="T2", is_voorbeeld="ja", **twice)
    spoil.add(
        "criteria",
        "gewicht_pct",
        versie="v2",
        criterium="a",
        naam="a",
        gewicht_pct=60,
        score_min=1,
        score_max=5,
    )
    spoil.put("scores", "score", 7, aanvraag="A1", beoordelaar="Beoordelaar 1")
    spoil.put("aanvragen", "reden", None, aanvraag="A4")
    spoil.put("aanvragen", "besluit_op", date(2021, 12, 1), aanvraag="A3")
    spoil.put("fasen", "geeindigd_op", date(2021, 3, 1), deal="TG", fase="verkennen")
    spoil.put("gebruik", "gebruikt_op", date(2030, 1, 1), deal="SF")
    spoil.put("oordelen", "toelichting", None, code="1-2022-r30")
    spoil.add(
        "leerpunten",
        "leidde_tot",
        leerpunt="L3",
        deal="SP",
        datum=date(2022, 5, 1),
        tekst="x",
        leidde_tot="SF",
        is_voorbeeld="ja",
    )


def places(findings: list[Finding]) -> set[tuple[str, int | None, str | None]]:
    return {(f.sheet, f.row, f.column) for f in findings}


def test_forty_mistakes_are_forty_findings_and_nothing_is_published(demo_file: Path, tmp_path: Path) -> None:
    spoil = Spoiler(load_workbook(demo_file))
    forty_mistakes(spoil)
    assert len(set(spoil.expected)) == 40
    file = spoil.save(tmp_path / "fouten.xlsx")
    found = workbook.read(file, file.name).findings
    assert places(found) == set(spoil.expected)
    assert len(found) == 40
    assert all(f.expected for f in found)
    platform = installation(tmp_path / "home")
    dropped = deliver(platform, file, "fouten.xlsx")
    assert not landed(platform).passed
    assert not dropped.exists()
    assert not platform.lake.exists(REGISTER)
    report = (platform.settings.inbox / "afgekeurd" / "fouten.xlsx.rapport.txt").read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^\d+\. blad ", report)) == 40
    assert "Beoordelaar" not in report


def test_mistake_leaves_the_register_as_it_was(demo_file: Path, tmp_path: Path) -> None:
    platform = installation(tmp_path / "home")
    small = write_register(tmp_path / "goed.xlsx", small_register())
    deliver(platform, small)
    assert landed(platform).passed
    before = lake_table(platform, REGISTER)
    book = load_workbook(small)
    book["deals"].cell(*at(book, "deals", "uitkomst", deal="D1")).value = "mislukt"
    book.save(tmp_path / "fout.xlsx")
    deliver(platform, tmp_path / "fout.xlsx")
    report = landed(platform)
    assert not report.passed
    pd.testing.assert_frame_equal(lake_table(platform, REGISTER), before)


# -- Control totals ------------------------------------------------------------------------------------------


def test_missed_control_total_is_refused_with_programme_colour_expected_and_found(
    demo_file: Path, tmp_path: Path
) -> None:
    book = load_workbook(demo_file)
    row, column = at(book, "oordelen", "oordeel", code="3-2022-r60")
    assert book["oordelen"].cell(row, column).value == "oranje"
    book["oordelen"].cell(row, column).value = "groen"
    book.save(tmp_path / "register.xlsx")
    found = workbook.read(tmp_path / "register.xlsx", "register.xlsx").findings
    said = sorted(f"{f.found}; {f.expected}" for f in found)
    occasion = "prestatie jaarverslag 2022 zonder overhead"
    assert said == sorted(
        [
            f"59 in dit register; 58 (3 Bodem, water en milieu: groen, {occasion})",
            f"9 in dit register; 10 (3 Bodem, water en milieu: oranje, {occasion})",
            f"313 in dit register; 312 (alle programma's: groen, {occasion})",
            f"126 in dit register; 127 (alle programma's: oranje, {occasion})",
        ]
    )


# -- What takes the place of what ----------------------------------------------------------------------------


def small_register(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    """Two simple deals."""
    deal = {
        "naam": "deal",
        "instrument": "koploperdeal",
        "tranche": "T1",
        "vraageigenaar": "team",
        "contactpersoon": "P. Persoon",
        "doel": "1.1",
        "gestart_op": date(2022, 1, 1),
        "uitkomst": "loopt",
        "is_voorbeeld": "nee",
        **changes,
    }
    return {
        "register": [{"peildatum": date(2023, 1, 1), "organisatie": "team"}],
        "doelenboom": [
            {"code": "1", "niveau": "programma", "naam": "een", "geldig_van": 2020, "is_voorbeeld": "nee"},
            {
                "code": "1.1",
                "niveau": "beleidsdoel",
                "naam": "doel",
                "hoort_bij": "1",
                "geldig_van": 2020,
                "is_voorbeeld": "nee",
            },
        ],
        "uitvoeringsplan": [{"jaar": 2022, "tranche": "T1", "afgesproken_deals": 2, "is_voorbeeld": "nee"}],
        "deals": [{"deal": "D1", **deal}, {"deal": "D2", **deal}],
    }


def test_new_register_takes_the_place_of_the_old_and_the_same_changes_nothing(tmp_path: Path) -> None:
    platform = installation(tmp_path / "home")
    deals = platform.tables["koploperdeals/cleaned/deals"]
    first = write_register(tmp_path / "a.xlsx", small_register())
    second = write_register(tmp_path / "b.xlsx", small_register(naam="andere naam"))
    for file, number, name in (
        (first, 1, "deal"),
        (first, 1, "deal"),
        (second, 2, "andere naam"),
        (first, 3, "deal"),
    ):
        deliver(platform, file)
        assert landed(platform).passed
        run_table(platform, deals, run_id="hand")
        assert lake_table(platform, REGISTER)["versie"].max() == number
        assert set(lake_table(platform, "koploperdeals/cleaned/deals")["naam"]) == {name}
    assert "contactpersoon" not in lake_table(platform, "koploperdeals/cleaned/deals")


def test_file_that_excel_has_open_is_left_alone_and_others_are_refused(tmp_path: Path) -> None:
    platform = installation(tmp_path / "home")
    good = write_register(tmp_path / "goed.xlsx", small_register())
    locked = deliver(platform, good, "~$register.xlsx")
    old = deliver(platform, good, "register.xls")
    cut_off = deliver(platform, good, "half.xlsx")
    cut_off.write_bytes(cut_off.read_bytes()[:2000])
    assert not landed(platform).passed
    assert (locked.exists(), old.exists(), cut_off.exists()) == (True, False, False)
    refused = {p.name for p in (platform.settings.inbox / "afgekeurd").glob("*.txt")}
    assert refused == {"register.xls.rapport.txt", "half.xlsx.rapport.txt"}


def test_experiment_that_the_platform_does_not_have_is_a_finding(tmp_path: Path) -> None:
    platform = installation(tmp_path / "home")
    deliver(platform, write_register(tmp_path / "a.xlsx", small_register(experiment="snufelfiets")))
    assert not landed(platform).passed
    report = (platform.settings.inbox / "afgekeurd" / "register.xlsx.rapport.txt").read_text(encoding="utf-8")
    assert "2 bevindingen" in report
    assert "gevonden 'snufelfiets', verwacht de map van een experiment: " in report
    assert "snuffelfiets" in report


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ("xl/workbook.xml", 0.5),
        ("xl/workbook.xml", 0),
        ("xl/worksheets/sheet3.xml", 0.5),
        ("[Content_Types].xml", 0),
    ],
)
def test_workbook_with_a_damaged_or_missing_part_is_refused(part: str, kept: float, tmp_path: Path) -> None:
    file = write_register(tmp_path / "register.xlsx", small_register())
    with zipfile.ZipFile(file) as source:
        contents = {i: source.read(i) for i in source.namelist()}
    contents[part] = contents[part][: int(len(contents[part]) * kept)]
    with zipfile.ZipFile(file, "w") as target:
        for name, content in contents.items():
            if content:
                target.writestr(name, content)
    with pytest.raises(SchemaMismatch, match="geen leesbare werkmap"):
        workbook.read(file, file.name)


def test_workbook_with_macros_is_refused(tmp_path: Path) -> None:
    file = write_register(tmp_path / "register.xlsx", small_register())
    with zipfile.ZipFile(file, "a") as packed:
        packed.writestr("xl/vbaProject.bin", b"")
    with pytest.raises(SchemaMismatch, match="macro"):
        workbook.read(file, file.name)


# -- Tables of other registers -------------------------------------------------------------------------------


def made(platform: Platform, sheets: dict[str, list[dict[str, Any]]], *paths: str) -> pd.DataFrame:
    """The last of these tables, after a register with these sheets has landed and each was made."""
    deliver(platform, write_register(platform.settings.home / "a.xlsx", sheets))
    assert landed(platform).passed
    for path in paths:
        report = run_table(platform, platform.tables[f"{EXPERIMENT}/{path}"], run_id="hand")
        assert report.passed, report.failures
    return lake_table(platform, f"{EXPERIMENT}/{paths[-1]}")


def test_register_with_nothing_but_its_day_gives_empty_tables(tmp_path: Path) -> None:
    platform = installation(tmp_path / "home")
    shown: list[str] = []
    # In their order, so that what a table is made of has been seen before it.
    for path, table in platform.tables.items():
        read = {r.table.removeprefix(f"{EXPERIMENT}/") for r in table.reads}
        if path.startswith(f"{EXPERIMENT}/") and read & {"raw/register", *shown}:
            shown.append(path.removeprefix(f"{EXPERIMENT}/"))
    assert len(shown) > 20
    made(platform, {"register": small_register()["register"]}, *shown)
    rows = {
        p: platform.lake.rows(f"{EXPERIMENT}/{p}", platform.lake.head(f"{EXPERIMENT}/{p}").version)
        for p in shown
    }
    assert {p: n for p, n in rows.items() if n} == {"cleaned/register": 1}


def test_score_of_one_assessor_is_not_shown_nor_the_spread_of_two(tmp_path: Path) -> None:
    decided = {
        "tranche": "T1",
        "ingediend_op": date(2022, 1, 1),
        "criteria_versie": "v",
        "besluit": "afgewezen",
        "besluit_op": date(2022, 2, 1),
        "reden": "geen_data",
        "is_voorbeeld": "nee",
    }
    sheets = {
        **small_register(),
        "criteria": [
            {"versie": "v", "criterium": "a", "naam": "a", "gewicht_pct": 100, "score_min": 1, "score_max": 5}
        ],
        "aanvragen": [{"aanvraag": f"A{n}", "titel": f"met {n}", **decided} for n in range(4)],
        "scores": [
            {"aanvraag": f"A{n}", "criterium": "a", "beoordelaar": f"P. Persoon {who}", "score": 2 + who}
            for n in range(4)
            for who in range(n)
        ],
    }
    platform = installation(tmp_path / "home")
    rows = made(platform, sheets, "cleaned/register", "indicators/selectie", "published/selectie")
    shown = rows[rows["onderdeel"] == "aanvraag"].sort_values("code")
    assert shown["score_pct_status"].tolist() == [
        "niet_beschikbaar",
        "onderdrukt",
        "definitief",
        "definitief",
    ]
    assert shown["score_pct"].fillna(-1).tolist() == [-1, -1, 37.5, 50.0]
    assert shown["score_spreiding_pct_status"].tolist() == ["niet_beschikbaar"] * 2 + [
        "onderdrukt",
        "definitief",
    ]
    assert shown["rang"].isna().tolist() == [True, True, False, False]
    reasons = rows[(rows["onderdeel"] == "reden") & (rows["tranche"] == "alle")]
    assert reasons[["code", "aantal", "afgewezen"]].to_numpy().tolist() == [["geen_data", 4, 4]]


def test_ten_deals_in_a_phase_give_a_curve_with_numbers_at_risk(tmp_path: Path) -> None:
    simulated = simulate(
        tmp_path, tmp_path, last_day=date(2024, 1, 1), days=1500, participants=40, rows=None, seed=3
    )
    platform = installation(tmp_path / "home")
    deliver(platform, simulated.files[0])
    assert landed(platform).passed
    for table in (
        "cleaned/register",
        "cleaned/deals",
        "cleaned/fasen",
        "indicators/trechter",
        "published/trechter",
    ):
        report = run_table(platform, platform.tables[f"{EXPERIMENT}/{table}"], run_id="hand")
        assert report.passed, report.failures
    rows = lake_table(platform, f"{EXPERIMENT}/published/trechter")
    first = rows[(rows["stap"] == "verkennen") & (rows["tranche"] == "alle")].set_index("onderdeel")
    step, curve = first.loc["stap"], first.loc["curve"].sort_values("na_dagen")
    assert step["aantal"] == 40
    assert step["aantal"] == step["door"] + step["gestopt"] + step["lopend"]
    assert curve["onder_risico"].iloc[0] <= 40
    assert (curve["onder_risico"].diff().dropna() < 0).all()
    reached = curve[curve["kans_door"] >= 0.5]["na_dagen"]
    assert step["mediaan_dagen"] == reached.iloc[0]
    # Per tranche there are too few for a median.
    few = rows[(rows["onderdeel"] == "stap") & (rows["aantal"] < 10)]
    assert len(few) > 0
    assert few["mediaan_dagen"].isna().all()


def test_lower_limit_changes_the_verdict_and_the_other_stays_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    amount = {
        "jaar": 2022,
        "document": "jaarverslag",
        "post": "p",
        "code": "1.1",
        "soort": "lasten",
        "begroting_na_wijziging_eur": 200_000,
        "begroting_basis": "na_wijziging",
        "gerealiseerd_eur": 120_000,
        "afgerond_op_eur": 0,
        "toelichting": "later gestart",
        "is_voorbeeld": "nee",
    }
    verdicts = [
        "oordeel",
        "oordeel_zonder_ondergrens",
        "oordeel_met_ondergrens",
        "oordeel_met_ondergrens_status",
    ]
    tables = [f"cleaned/{t}" for t in ("register", "doelenboom", "oordelen", "geld")]
    tables += ["evaluation/bevindingen", "published/geld_per_doel"]
    platform = installation(tmp_path / "home")
    sheets = {**small_register(), "geld": [amount]}
    (off,) = made(platform, sheets, *tables)[verdicts].fillna("geen").to_numpy().tolist()
    assert off == ["rood", "rood", "geen", "niet_van_toepassing"]
    monkeypatch.setenv("KOPLOPER_KOPLOPERDEALS_ONDERGRENS_VERSCHIL_EUR", "100000")
    platform = installation(tmp_path / "home")
    (on,) = made(platform, sheets, *tables)[verdicts].to_numpy().tolist()
    assert on == ["groen", "rood", "groen", "definitief"]


# -- Simulated deals -----------------------------------------------------------------------------------------


def test_simulated_register_is_accepted_and_keeps_its_truth(tmp_path: Path) -> None:
    made = simulate(
        tmp_path, tmp_path / "truth", last_day=date(2024, 1, 1), days=900, participants=15, rows=None, seed=2
    )
    assert workbook.read(made.files[0], "register.xlsx").findings == []
    truth = pd.read_parquet(made.truth / "deals.parquet")
    assert truth["deal"].nunique() == 15
    with pytest.raises(ValueError, match="before 2015"):
        simulate(tmp_path, tmp_path, last_day=date(2018, 1, 1), days=1200, participants=15, rows=None, seed=2)
