"""What is wrong with a dropped file is said or set aside, and the published figures stay as they were.

Two homes: in one every kind of unreadable file is landed at once; the other has a release with figures, and
then a night in which good and bad files come together.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
import toolbox
from services import CKAN_COLUMNS, ROWS_A_DAY, ckan_export

from koploper_pipelines.assets.snuffelfiets.raw import metingen as raw
from koploper_pipelines.automation.run import Ran
from koploper_pipelines.gates.staging import SchemaMismatch, relation
from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.resources import inbox

pytestmark = toolbox.WARNINGS_OF_OTHERS

NOW = datetime(2025, 1, 10, 1, 30, tzinfo=UTC)
CLOSED, OPEN, BAD_DAY = "2024-11", "2025-01", date(2024, 11, 20)
OVERVIEW = "snuffelfiets_overzicht"
COUNTS = ["metingen_ontvangen", "metingen_bruikbaar", "metingen_in_quarantaine"]
CLEANED = "snuffelfiets/cleaned/metingen"
ONLY_ERRORS = "alleen fouten.csv"
DEVICE = "358000000000000"
LONG = "n" * 240 + ".csv"
NOT_UTF8_NAME = os.fsdecode(b"caf\xe9.csv")
"""As a file comes out of a zip that was made on another system."""


# -- Good rows, and what can go wrong with them ----------------------------------------------------------


def export(folder: Path, day: date, number: int = ROWS_A_DAY, first_id: int = 1) -> list[list[str]]:
    """The first rows of one day of three devices, all usable."""
    file = folder / "export.csv"
    ckan_export(file, [day], pm25_ug_m3=12, first_id=first_id)
    _, rows = toolbox.csv_rows(file.read_text())
    file.unlink()
    return rows[:number]


def as_csv(rows: list[list[str]], delimiter: str = ",") -> str:
    return toolbox.csv_text(CKAN_COLUMNS, rows, delimiter)


def changed(rows: list[list[str]], column: str, value: str, row: int = 3) -> list[list[str]]:
    """The rows with one value replaced; `row` counts from 1 as reports do."""
    copy = [list(r) for r in rows]
    copy[row - 1][CKAN_COLUMNS.index(column)] = value
    return copy


def zipped(text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        target.writestr("metingen.csv", text)
    return made.getvalue()


def _damaged(content: bytes) -> bytes:
    """Four bytes in the middle are others."""
    return content[:60] + b"\x00\x01\x02\x03" + content[64:]


@dataclass(frozen=True)
class Refused:
    """A file that cannot be read, and what its report must say."""

    make: Callable[[list[list[str]]], str | bytes]
    says: tuple[str, ...]


def _lines(rows: list[list[str]]) -> list[str]:
    return as_csv(rows).splitlines(keepends=True)


REFUSED: Mapping[str, Refused] = {
    # Truncated: in a row, in its last value, in a quoted field, and with lines after the cut.
    "afgekapt.csv": Refused(
        lambda r: "".join(_lines(r)[:4]) + _lines(r)[4][:30], ("row 4 (line 5)", "line end", "cut off")
    ),
    "afgekapt in laatste waarde.csv": Refused(
        lambda r: as_csv(r)[:-2], ("row 6 (line 7)", "line end", "cut off")
    ),
    "afgekapt in aanhaling.csv": Refused(
        lambda r: "".join(_lines(r)[:4]) + '4,"3580000', ("row 4 (line 5)", "line end", "cut off")
    ),
    "halve rij.csv": Refused(
        lambda r: "".join([*_lines(r)[:3], "1,2,3\n", *_lines(r)[3:]]),
        ("row 3 (line 4)", "3 fields", "expected 21", "cut off"),
    ),
    "open aanhaling.csv": Refused(
        lambda r: "".join([*_lines(r)[:3], '3,"358000000000777,2024\n', *_lines(r)[3:]]),
        ("row 3 (line 4)", "quote that is not closed", "expected 21 fields"),
    ),
    "regeleinde in waarde.csv": Refused(
        lambda r: as_csv(changed(r, "voc", "4\n0")),
        ("row 3", "'voc'", "line break", "expected a short value"),
    ),
    # Another delimiter, encoding or line end.
    "tab.csv": Refused(
        lambda r: as_csv(r, "\t"), ("line 1", "expected a header with _id, entity_id", "separated by , or ;")
    ),
    "pijp.csv": Refused(lambda r: as_csv(r, "|"), ("line 1", "expected a header", "separated by , or ;")),
    "utf16.csv": Refused(lambda r: as_csv(r).encode("utf-16"), ("line 1", "UTF-16", "expected UTF-8")),
    "latin1.csv": Refused(
        lambda r: as_csv(changed(r, "voc", "café")).encode("latin-1"),
        ("line 4", "not UTF-8", "expected a CSV file in UTF-8"),
    ),
    "nulbyte.csv": Refused(
        lambda r: as_csv(changed(r, "voc", "4\x000")), ("line 4", "zero bytes", "expected UTF-8")
    ),
    "oude mac.csv": Refused(lambda r: as_csv(r).replace("\n", "\r"), ("line 1", "expected LF or CRLF")),
    # The header glued to a first row: what stands there is values, a device number among them.
    "kop vast aan rij.csv": Refused(
        lambda r: as_csv(r).replace("\n", "\r", 1), ("column", "header", "expected once")
    ),
    # Other columns.
    "zonder kolom.csv": Refused(
        lambda r: toolbox.csv_text(CKAN_COLUMNS[:-1], [row[:-1] for row in r]),
        ("column 'voltage' is missing in the header", "expected _id, entity_id"),
    ),
    "met kolom.csv": Refused(
        lambda r: toolbox.csv_text([*CKAN_COLUMNS, "kleur"], [[*row, "rood"] for row in r]),
        ("column 'kleur' is not known", "expected _id, entity_id"),
    ),
    "met nummer als kolom.csv": Refused(
        lambda r: toolbox.csv_text([*CKAN_COLUMNS, DEVICE], [[*row, "1"] for row in r]),
        ("column without a proper name is not known", "expected _id, entity_id"),
    ),
    "dubbele kolom.csv": Refused(
        lambda r: toolbox.csv_text([*CKAN_COLUMNS, "voc"], [[*row, "40"] for row in r]),
        ("column 'voc' stands twice in the header", "expected once"),
    ),
    "hoofdletters.csv": Refused(
        lambda r: as_csv(r).replace(",".join(CKAN_COLUMNS), ",".join(CKAN_COLUMNS).upper()),
        ("line 1", "expected a header with _id, entity_id"),
    ),
    "zonder kop.csv": Refused(
        lambda r: "".join(_lines(r)[1:]), ("line 1", "expected a header with _id, entity_id")
    ),
    "rij van 200.csv": Refused(
        lambda r: "".join([*_lines(r)[:3], ",".join(["1"] * 200) + "\n", *_lines(r)[3:]]),
        ("row 3 (line 4)", "more than 21 fields", "expected 21"),
    ),
    # Nothing in it, or far too much.
    "leeg.csv": Refused(lambda r: b"", ("0 bytes", "expected a CSV file with a header")),
    "leeg.csv.gz": Refused(lambda r: gzip.compress(b""), ("0 bytes", "expected a CSV file with a header")),
    "nul rijen.csv": Refused(lambda r: as_csv([]), ("0 rows", "expected at least one row")),
    "tien MB in een veld.csv": Refused(
        lambda r: as_csv(changed(r, "voc", "x" * 10_000_000)),
        ("row 3 (line 4)", "longer than 400000 characters", "expected 21 short fields"),
    ),
    "tien MB in de kop.csv": Refused(
        lambda r: "x" * 10_000_000 + "\n" + as_csv(r), ("line 1", "expected a header with _id, entity_id")
    ),
    "tweeduizend in een veld.csv": Refused(
        lambda r: as_csv(changed(r, "voc", "x" * 2000)),
        ("row 3", "'voc'", "more than 1000 characters", "expected a short value"),
    ),
    # No CSV at all.
    "gezipt.csv": Refused(lambda r: zipped(as_csv(r)), ("zip or spreadsheet", "expected CSV", "unpack")),
    "werkboek.xlsx": Refused(lambda r: zipped("<worksheet/>"), ("zip or spreadsheet", "expected CSV")),
    "half.csv.gz": Refused(
        lambda r: gzip.compress(as_csv(r).encode())[:-40], ("gz file", "cut off", "expected")
    ),
    "beschadigd.csv.gz": Refused(
        lambda r: _damaged(gzip.compress(as_csv(r).encode())), ("gz file", "damaged", "expected")
    ),
    "met staart.csv.gz": Refused(
        lambda r: gzip.compress(as_csv(r).encode()) + b"358000000000000", ("gz file", "damaged", "expected")
    ),
    # Names that a file system takes and a report must too.
    "naam 'met' \"aanhaling\" é €.csv": Refused(
        lambda r: as_csv([]), ("0 rows", "naam 'met' \"aanhaling\" é €")
    ),
    "naam\nover twee regels.csv": Refused(lambda r: as_csv([]), ("0 rows", "naam?over twee regels.csv")),
    NOT_UTF8_NAME: Refused(lambda r: as_csv([]), ("0 rows", "caf?.csv")),
    LONG: Refused(lambda r: as_csv([]), ("0 rows", "nnn.csv")),
}


# -- Files that cannot be read ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Landing:
    """A home after one landing of all unreadable files and a few good ones."""

    platform: Platform
    home: Path
    rows: list[list[str]]
    dropped: Mapping[str, bytes]
    """Contents of the unreadable files."""
    good: int
    """Rows in the good files."""


GOOD_NAMES = (
    "aa eerst.csv",
    "m*.csv",
    "m1.csv",
    "[x] 'q' é.csv",
    "geen gz.csv.gz",
    os.fsdecode(b"z\xe9.csv"),
)
"""Names with a meaning for whoever reads them carelessly: patterns, quotes, packing, no UTF-8."""


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Landing:
    folder = tmp_path_factory.mktemp("refused")
    home = folder / "home"
    platform = toolbox.installation(home, NOW)
    rows = export(folder, date(2024, 11, 11), 6)
    (home / "inbox" / "snuffelfiets" / "map.csv").mkdir(parents=True)
    toolbox.drop(home, "nog bezig.csv.part", as_csv(rows))
    dropped = {name: toolbox.drop(home, name, case.make(rows)).read_bytes() for name, case in REFUSED.items()}
    for n, name in enumerate(GOOD_NAMES):
        toolbox.drop(home, name, as_csv(changed(rows, "voc", str(50 + n))))
    report = run_table(platform, platform.tables[raw.TABLE], run_id="landing")
    assert len(report.outcomes) == len(REFUSED) + len(GOOD_NAMES)
    return Landing(platform, home, rows, dropped, len(rows) * len(GOOD_NAMES))


def put_aside(home: Path, name: str) -> tuple[Path, str]:
    """Where a refused file waits, and the report beside it."""
    aside = (
        home / "inbox" / "afgekeurd" / inbox.DroppedFile(Path(name), toolbox.installation(home).settings).name
    )
    return aside, aside.with_name(aside.name + ".rapport.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REFUSED, ids=[ascii(n)[:40] for n in REFUSED])
def test_a_file_that_cannot_be_read_waits_with_a_report(landing: Landing, name: str) -> None:
    aside, report = put_aside(landing.home, name)
    assert aside.read_bytes() == landing.dropped[name]
    assert [part for part in REFUSED[name].says if part not in report] == []
    assert "terug in inbox/snuffelfiets/" in report
    assert not (landing.home / "inbox" / "snuffelfiets" / name).exists()


def test_no_report_quotes_a_device_or_a_row(landing: Landing) -> None:
    secrets = {"358000000000", "3580000", "2024-11-11T", "52.09"}
    texts = {name: put_aside(landing.home, name)[1] for name in REFUSED}
    texts["ledger"] = landing.platform.ledger.read("gebeurtenis = 'regel'")["toelichting"].dropna().str.cat()
    assert {n: s for n, text in texts.items() for s in secrets if s in text} == {}
    # Counter-test: the files do hold them.
    assert secrets <= {s for s in secrets if s in as_csv(landing.rows)}


def test_the_other_files_of_the_same_landing_are_in(landing: Landing) -> None:
    landed = toolbox.lake_table(landing.platform, raw.TABLE)
    assert len(landed) == landing.good
    assert landed["bestand"].nunique() == len(GOOD_NAMES)
    assert sorted(set(landed["voc"]) - {"40"}) == [str(50 + n) for n in range(len(GOOD_NAMES))]
    assert DEVICE not in landed.astype("str").to_csv()


def test_folders_and_unfinished_copies_are_left_alone(landing: Landing) -> None:
    left = sorted(p.name for p in (landing.home / "inbox" / "snuffelfiets").iterdir())
    assert left == ["map.csv", "nog bezig.csv.part"]
    assert list((landing.home / "lake" / "_voorportaal").iterdir()) == []


def test_a_file_that_is_refused_again_takes_no_place_of_another(landing: Landing) -> None:
    toolbox.drop(landing.home, "leeg.csv", b"")
    run_table(landing.platform, landing.platform.tables[raw.TABLE], run_id="again")
    waiting = {p.name for p in (landing.home / "inbox" / "afgekeurd").glob("leeg*.csv*")}
    assert waiting >= {"leeg.csv", "leeg.csv.rapport.txt", "leeg-2.csv", "leeg-2.csv.rapport.txt"}


def test_without_the_check_of_the_last_line_a_cut_value_would_land(
    landing: Landing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The counter-test of "afgekapt in laatste waarde": fields and rows are all there, only the value is not.
    (tmp_path / "afgekapt.csv").write_text(as_csv(landing.rows)[:-2])
    file = inbox.DroppedFile(tmp_path / "afgekapt.csv", landing.platform.settings)
    with pytest.raises(SchemaMismatch, match="line end"), file.opened():
        pass
    monkeypatch.setattr(inbox, "checked", lambda path, name, encoding: "0" * 64)
    import duckdb

    with file.opened() as (path, _), duckdb.connect() as con:
        rows = relation(con, inbox.read_csv(con, path, file.name, CKAN_COLUMNS)).df()
    assert rows["voltage"].tolist() == ["113"] * 5 + ["11"]


def test_a_file_lands_the_same_whatever_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*export(tmp_path, date(2024, 11, 11), 6), *export(tmp_path, date(2024, 11, 12), 5, first_id=100)]
    rows = changed(changed(rows, "recording_timestamp", "2106-02-07T06:28:15", 2), "entity_id", " ", 4)
    landed = []
    for limit in (inbox.IN_MEMORY, 0):
        monkeypatch.setattr(inbox, "IN_MEMORY", limit)
        platform = toolbox.installation(tmp_path / str(limit), NOW)
        toolbox.drop(platform.settings.home, "export.csv", as_csv(rows))
        assert run_table(platform, platform.tables[raw.TABLE], run_id="landing").passed
        landed.append(toolbox.lake_table(platform, raw.TABLE).sort_values("rij", ignore_index=True))
    pd.testing.assert_frame_equal(*landed)
    assert landed[0]["apparaat"].tolist().count(raw.UNKNOWN_DEVICE) == 1
    assert landed[0]["opnamedatum"].isna().sum() == 1


# -- A night with good and bad files ---------------------------------------------------------------------

STRANGE: Mapping[str, tuple[dict[str, str], str]] = {
    "text": ({"pm2_5": "veel"}, "onleesbare_waarde"),
    "nan": ({"pm2_5": "nan"}, "onleesbare_waarde"),
    "inf": ({"pm10": "inf"}, "onleesbare_waarde"),
    "too large for a number": ({"pm2_5": "1e400"}, "onleesbare_waarde"),
    "decimal comma": ({"pm2_5": "12,5"}, "onleesbare_waarde"),
    "formula": ({"pm2_5": "=1+1"}, "onleesbare_waarde"),
    "formula in a value that may be empty": ({"humidity": "=HYPERLINK(1)"}, "onleesbare_waarde"),
    "negative id": ({"_id": "-4"}, "onleesbare_waarde"),
    "no device": ({"entity_id": ""}, "onleesbare_waarde"),
    "blank device": ({"entity_id": "  "}, "onleesbare_waarde"),
    "no time": ({"recording_timestamp": ""}, "onleesbare_waarde"),
    "month 13": ({"recording_timestamp": "2024-13-11T08:00:00"}, "onleesbare_waarde"),
    "clock never set": ({"recording_timestamp": "1970-01-01T00:00:00"}, "onmogelijke_klok"),
    "end of 32 bits": ({"recording_timestamp": "2106-02-07T06:28:15"}, "onmogelijke_klok"),
    "both clocks in 2106": (
        {"recording_timestamp": "2106-02-07T06:28:15", "receive_timestamp": "2106-02-07T06:29:15"},
        "onmogelijke_klok",
    ),
    "critical error": ({"error_code": "512"}, "fout_kritiek"),
    "negative PM": ({"pm1_0": "-5"}, "pm_onwaarschijnlijk"),
    "no position": ({"latitude": "0", "longitude": "0"}, "geen_positie"),
}
"""Values put into rows of devices and days that have figures, and the reason each must get."""
WITHOUT_DAY = 5
UNDER_GOOD_NAMES = ("crlf.csv", "bom.csv", "punt komma 'é'.csv", "ingepakt.csv.gz")


@dataclass(frozen=True)
class Nights:
    """A home before and after the night with good and bad files."""

    platform: Platform
    home: Path
    before: Mapping[str, pd.DataFrame]
    after: Mapping[str, pd.DataFrame]
    again: Mapping[str, pd.DataFrame]
    """After one more night without new files."""
    ran: list[Ran]
    rows: list[list[str]]
    """Of which the strange ones were made."""
    strange_file: str
    """SHA-256 of the file with those."""


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    folder = tmp_path_factory.mktemp("broken")
    home = folder / "home"
    platform = toolbox.installation(home, NOW)
    toolbox.drop(home, "november.csv", as_csv(list(six_devices(folder))))
    first = toolbox.direct_night(platform)
    assert not first.held_back and not first.refusals
    before = toolbox.published(platform)

    rows = export(folder, date(2024, 11, 11), len(STRANGE), first_id=50_001)
    odd = [strange(r, values) for r, (values, _) in zip(rows, STRANGE.values(), strict=True)]
    of_strange = hashlib.sha256(toolbox.drop(home, "vreemd.csv", as_csv(odd)).read_bytes()).hexdigest()
    errors = [changed([r], "error_code", "512", 1)[0] for r in export(folder, BAD_DAY, 6, first_id=60_001)]
    toolbox.drop(home, ONLY_ERRORS, as_csv(errors))
    for n, name in enumerate(UNDER_GOOD_NAMES):
        text = as_csv(export(folder, date(2025, 1, 2 + n), 4, first_id=70_001 + 10 * n))
        toolbox.drop(home, name, disguised(name, text))
    for name in ("gezipt.csv", "halve rij.csv", "beschadigd.csv.gz", "nul rijen.csv"):
        toolbox.drop(home, name, REFUSED[name].make(rows))
    ran = toolbox.night(platform)
    after = toolbox.published(platform)
    toolbox.direct_night(platform)
    return Nights(platform, home, before, after, toolbox.published(platform), ran, rows, of_strange)


def six_devices(folder: Path) -> Iterator[list[str]]:
    """Six days with rides of six devices along the same streets: enough of them to show figures."""
    for day in range(11, 17):
        rows = export(folder, date(2024, 11, day), first_id=1000 * (day - 10))
        yield from rows
        for row in rows:
            yield [str(int(row[0]) + 100), row[1].replace("3580", "3581", 1), *row[2:]]


def strange(row: list[str], values: Mapping[str, str]) -> list[str]:
    """A row ten seconds later than a good one, with other values."""
    recorded, received = (f"{moment[:-2]}{int(moment[-2:]) + 10}" for moment in row[2:4])
    row = [*row[:2], recorded, received, *row[4:]]
    return [values.get(column, old) for column, old in zip(CKAN_COLUMNS, row, strict=True)]


def disguised(name: str, text: str) -> bytes:
    """The same rows as other programmes write them."""
    if name.startswith("crlf"):
        text = text.replace("\n", "\r\n")
    if name.startswith("bom"):
        text = "\ufeff" + text
    if name.startswith("punt komma"):
        text = text.replace(",", ";")
    return gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()


def test_the_release_before_has_figures(nights: Nights) -> None:
    (month,) = nights.before[OVERVIEW].to_dict("records")
    assert (month["maand"], month["apparaten"], month["metingen_bruikbaar"]) == (
        CLOSED,
        6,
        6 * 2 * ROWS_A_DAY,
    )
    assert month["afstand_km"] > 0 and month["ritten"] == 6 * 6
    assert nights.before["snuffelfiets_pm25_cel"]["pm25_ug_m3"].tolist() == [12] * 4


def test_every_figure_stays_as_it_was(nights: Nights) -> None:
    for table in ("snuffelfiets_pm25_cel", "snuffelfiets_pm25_gemeente", "snuffelfiets_ritten_verdeling"):
        pd.testing.assert_frame_equal(nights.after[table], nights.before[table])
    # pandas reads whole numbers as floating when another month has none.
    before, after = closed_month(nights.before), closed_month(nights.after)
    pd.testing.assert_frame_equal(after, before, check_dtype=False)
    # Counter-test: with one row more of those devices the comparison fails.
    other = nights.before[OVERVIEW].assign(ritten=lambda t: t["ritten"] + 1)
    with pytest.raises(AssertionError):
        pd.testing.assert_frame_equal(after, closed_month({OVERVIEW: other}), check_dtype=False)


def closed_month(published: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What the overview says of the closed month besides the counts of rows."""
    rows = published[OVERVIEW]
    return rows[rows["maand"] == CLOSED].drop(columns=COUNTS).reset_index(drop=True)


def test_process_counts_grow_by_exactly_the_rows_that_landed(nights: Nights) -> None:
    before, after = counts(nights.before), counts(nights.after)
    in_month = len(STRANGE) - WITHOUT_DAY + 6
    good = 4 * len(UNDER_GOOD_NAMES)
    received, usable, aside = before[CLOSED]
    assert after == {
        CLOSED: (received + in_month, usable, aside + in_month),
        OPEN: (good, good, 0),
        "onbekend": (WITHOUT_DAY, 0, WITHOUT_DAY),
    }


def counts(published: Mapping[str, pd.DataFrame]) -> dict[str, tuple[int, ...]]:
    """Rows received, usable and in quarantine, by month."""
    rows = published[OVERVIEW].to_dict("records")
    return {str(row["maand"]): tuple(int(row[count]) for count in COUNTS) for row in rows}


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_value_puts_its_row_aside_for_one_reason(nights: Nights, what: str) -> None:
    values, reason = STRANGE[what]
    number = list(STRANGE).index(what) + 1
    aside = toolbox.quarantine(nights.platform, CLEANED)
    (row,) = aside[
        (aside["bestand"] == nights.strange_file) & (aside["rij"].astype("int64") == number)
    ].to_dict("records")
    assert row["reden"] == reason
    # The column and what was expected of it, never the value.
    assert next(iter(values)) in row["toelichting"] and row["toelichting"].endswith("verwacht")
    assert DEVICE not in str(row)
    usable = toolbox.lake_table(nights.platform, CLEANED)
    assert int(nights.rows[number - 1][0]) not in set(usable["bron_id"])


def test_a_file_of_errors_alone_is_set_aside_to_the_row(nights: Nights) -> None:
    aside = toolbox.quarantine(nights.platform, CLEANED)
    of_day = aside[aside["partitie"] == BAD_DAY.isoformat()]
    assert of_day["reden"].tolist() == ["fout_kritiek"] * 6
    assert not (nights.home / "inbox" / "afgekeurd" / ONLY_ERRORS).exists()


def test_the_night_says_what_failed_and_publishes_the_rest(nights: Nights) -> None:
    fetched, *processed, published = nights.ran
    assert not fetched.success
    told = " ".join(fetched.failures)
    assert all(name in told for name in ("gezipt.csv", "halve rij.csv", "beschadigd.csv.gz", "nul rijen.csv"))
    assert "row 3 (line 4) has 3 fields, expected 21" in told
    assert DEVICE not in told
    assert processed and all(run.success for run in [*processed, published])


def test_the_quality_tables_show_the_refusal_and_the_rows_set_aside(nights: Nights) -> None:
    quality = nights.after["datakwaliteit"].set_index(["tabel", "regel"])
    assert quality.loc[(raw.TABLE, "schema_klopt"), "oordeel"] in ("geslaagd", "niet_geslaagd")
    reasons = nights.after["datakwaliteit_quarantaine"].set_index("reden")["aantal_rijen"].to_dict()
    expected = pd.Series([reason for _, reason in STRANGE.values()]).value_counts().to_dict()
    assert reasons == expected | {"fout_kritiek": expected["fout_kritiek"] + 6}


def test_the_next_night_changes_nothing(nights: Nights) -> None:
    assert nights.again["release"]["release_id"].item() == nights.after["release"]["release_id"].item()
    pd.testing.assert_frame_equal(nights.again[OVERVIEW], nights.after[OVERVIEW])
