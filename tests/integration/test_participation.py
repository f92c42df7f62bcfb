"""Conversations from the inbox to the published tables: real, simulated and broken ones."""

import csv
import io
import shutil
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import toolbox

from koploper_pipelines.gates.step import Platform, run_table
from koploper_pipelines.methods.slimme_participatie.statements import group_informed_consensus
from koploper_pipelines.simulation import slimme_participatie as simulation

pytestmark = toolbox.WARNINGS_OF_OTHERS
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
REAL = ("canadian-electoral-reform", "scoop-hivemind.ubi", "vtaiwan.uberx")
FILES = ("comments.csv", "participants-votes.csv", "summary.csv", "votes.csv")
RAW, VOTES = "slimme_participatie/raw/bijdragen", "slimme_participatie/cleaned/stemmen"
CLOSED = date(2026, 10, 20)
NO_TEXTS = tuple(
    f"slimme_participatie/{t}" for t in ("raw/bijdragen", "cleaned/stellingen", "cleaned/stemmen")
)


def inbox(platform: Platform) -> Path:
    folder = platform.settings.inbox / "slimme_participatie"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put(platform: Platform, name: str, files: dict[str, str | bytes]) -> Path:
    folder = inbox(platform) / name
    folder.mkdir()
    for file, text in files.items():
        (folder / file).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def make(platform: Platform, *tables: str) -> dict[str, Any]:
    """Run some tables only; the reports by path."""
    return {t: run_table(platform, platform.tables[t], run_id="proef") for t in tables}


def indicators(published: dict[str, pd.DataFrame]) -> pd.DataFrame:
    rows = published["participatie_evaluatie"]
    return rows.pivot(index="gesprek", columns="indicator", values="waarde")


# -- Real conversations ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_night(
    tmp_path_factory: pytest.TempPathFactory, real_data: Callable[[str], Path]
) -> tuple[Platform, dict[str, pd.DataFrame], Callable[[str], Path]]:
    platform = toolbox.installation(tmp_path_factory.mktemp("echt"), NOW)
    for name in REAL:
        (inbox(platform) / name).mkdir()
        for file in FILES:
            shutil.copyfile(real_data(f"polis/{name}/{file}"), inbox(platform) / name / file)
    night = toolbox.direct_night(platform)
    assert not night.refusals
    assert not night.held_back
    return platform, toolbox.published(platform), real_data


def test_last_votes_are_the_exported_matrix_in_every_cell(real_night: Any) -> None:
    platform, published, real_data = real_night
    kept = toolbox.lake_table(platform, VOTES)
    aside = toolbox.quarantine(platform, VOTES)
    aside = (
        aside[aside["reden"] == "stelling_afgewezen"]
        .drop(columns="partitie")
        .rename(columns={"partitie": "gesprek", "item": "stelling_id"})
    )
    both = pd.concat([kept[["gesprek", "stelling_id", "stem"]], aside[["gesprek", "stelling_id", "stem"]]])
    for name in REAL:
        matrix = pd.read_csv(real_data(f"polis/{name}/participants-votes.csv"))
        cells = matrix[[c for c in matrix.columns if c.isdigit()]]
        own = both[both["gesprek"] == name].astype({"stem": int})
        for value in (-1, 0, 1):
            counted = own[own["stem"] == value].groupby("stelling_id").size()
            expected = (cells == value).sum()
            assert counted.reindex(expected.index).fillna(0).tolist() == expected.tolist()
    found = indicators(published)
    assert found["afwijkende_matrixcellen"].tolist() == [0, 0, 0]


def test_exported_agrees_are_all_events(real_night: Any) -> None:
    _, published, _ = real_night
    found = indicators(published)
    assert found["afwijkende_eens_tellingen"].tolist() == [0, 0, 0]
    assert (found["herhaalde_stemmen"] > 0).all()


def test_published_votes_and_consensus_follow_the_export(real_night: Any) -> None:
    """Counted anew from the files, with Polis' own groups and the formula written out."""
    _, published, real_data = real_night
    rows = published["participatie_stellingen"]
    for name in REAL:
        comments = pd.read_csv(real_data(f"polis/{name}/comments.csv"), dtype={"comment-id": "str"})
        matrix = pd.read_csv(real_data(f"polis/{name}/participants-votes.csv"))
        own = rows[rows["gesprek"] == name].set_index("stelling_id")
        kept = comments[comments["moderated"] != -1].drop_duplicates("comment-id")
        assert set(own.index) == set(kept["comment-id"])
        known = [s for s in own.index if s in matrix.columns]
        cells = matrix[known]
        assert own.loc[known, "stemmen"].tolist() == cells.notna().sum().tolist()
        assert own.loc[known, "eens"].tolist() == (cells == 1).sum().tolist()
        assert own.loc[known, "oneens"].tolist() == (cells == -1).sum().tolist()
        by_group = cells.groupby(matrix["group-id"])
        agree, seen = by_group.agg(lambda v: (v == 1).sum()), by_group.count()
        expected = ((agree + 1) / (seen + 2)).prod()
        shown = own.loc[known, "groepsconsensus"].dropna()
        assert len(shown) == (seen.sum() >= 10).sum() > 0
        assert np.abs(shown - expected[shown.index]).max() < 1e-12
        np.testing.assert_allclose(group_informed_consensus(agree, seen), expected, atol=1e-15)
        texts = own.loc[known, "stelling"].notna()
        accepted = set(kept.loc[kept["moderated"] == 1, "comment-id"])
        assert set(texts.index[texts]) <= accepted
        assert texts[[s for s in known if s in accepted]].mean() > 0.9


def test_groups_agree_with_the_platform(real_night: Any) -> None:
    _, published, _ = real_night
    found = indicators(published)["overeenkomst_groepen_platform"]
    assert found["canadian-electoral-reform"] >= 0.95
    assert found["vtaiwan.uberx"] >= 0.80


def test_groups_are_published_only_when_more_than_chance_and_one_axis(real_night: Any) -> None:
    """Real groups are hardly more than one axis: what is said of them follows the figures."""
    _, published, _ = real_night
    talks = published["participatie_gesprekken"].set_index("gesprek")
    beats = (talks["silhouet"] > talks["silhouet_toeval"]) & (talks["silhouet"] > talks["silhouet_as"])
    assert (talks["uitkomst"] == "groepen").tolist() == (beats & (talks["stabiliteit"] >= 0.6)).tolist()
    assert not beats.all()
    groups = published["participatie_groepen"]
    none = groups[groups["gesprek"].isin(talks.index[talks["uitkomst"] != "groepen"])]
    assert set(none["groep"]) == {"geen"}
    assert none["aantal_deelnemers"].isna().all()
    assert set(published["participatie_stellingen_per_groep"]["gesprek"]) <= set(talks.index[beats])


def test_no_participant_is_published(real_night: Any) -> None:
    platform, published, _ = real_night
    people = set(toolbox.lake_table(platform, VOTES)["deelnemer"])
    assert people
    for name, rows in published.items():
        assert not any(people & set(rows[c].dropna().astype("str")) for c in rows.columns), name


def test_without_a_population_nothing_is_compared_with_it(real_night: Any) -> None:
    _, published, _ = real_night
    rows = published["participatie_representativiteit"]
    assert set(rows["gesprek"]) == set(REAL)
    for figure in ("verhouding_uitersten", "effectieve_omvang"):
        assert rows[figure].isna().all()
        assert set(rows[f"{figure}_status"]) == {"niet_beschikbaar"}
    assert rows["index_bevolking"].isna().all()
    weighted = published["participatie_stellingen"]
    assert set(weighted["eens_gewogen_pct_status"]) == {"niet_beschikbaar"}


def test_a_delivery_that_landed_is_not_landed_again(real_night: Any) -> None:
    platform, _, real_data = real_night
    before = toolbox.versions(platform)
    name = REAL[1]
    put(platform, name, {f: real_data(f"polis/{name}/{f}").read_bytes() for f in FILES})
    assert make(platform, RAW)[RAW].nothing_new
    assert toolbox.versions(platform) == before
    assert not (inbox(platform) / name).exists()


# -- Simulated conversations -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_night(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Platform, Path, dict[str, pd.DataFrame], Any]:
    platform = toolbox.installation(tmp_path_factory.mktemp("demo"), NOW)
    made = simulation.demo(
        inbox(platform),
        platform.settings.home / "waarheid",
        first=date(2026, 9, 1),
        last=date(2026, 11, 23),
        now=NOW,
    )
    night = toolbox.direct_night(platform)
    assert not night.refusals
    assert not night.held_back
    return platform, made.truth, toolbox.published(platform), night


def test_groups_of_the_simulation_are_published(demo_night: Any) -> None:
    _, truth, published, _ = demo_night
    groups = published["participatie_groepen"]
    own = groups[groups["gesprek"] == "energie in de buurt"]
    people = pd.read_csv(truth / "energie in de buurt" / "deelnemers.csv")
    assert own["groep"].tolist() == ["1", "2", "3"]
    sizes = people[people["rol"] == "burger"]["groep"].value_counts().tolist()
    assert own["aantal_deelnemers"].sum() <= len(people)
    assert abs(own["aantal_deelnemers"].iloc[0] - sizes[0]) < 0.35 * sizes[0]
    assert own["kenmerkend"].notna().all()
    others = groups[groups["gesprek"] != "energie in de buurt"]
    assert set(others["groep"]) == {"geen"}


def test_known_consensus_ranks_first(demo_night: Any) -> None:
    _, truth, published, _ = demo_night
    rows = published["participatie_stellingen"]
    own = rows[rows["gesprek"] == "energie in de buurt"].copy()
    known = pd.read_csv(truth / "energie in de buurt" / "stellingen.csv")
    consensus = set(known.loc[known["is_consensus"], "stelling"].astype("str"))
    top = own.sort_values("groepsconsensus", ascending=False)["stelling_id"].head(len(consensus))
    assert len(set(top) & consensus) >= len(consensus) - 1


def test_steering_is_named(demo_night: Any) -> None:
    _, _, published, night = demo_night
    rows = published["participatie_stellingen"]
    warned = rows[rows["waarschuwing"] != "geen"]
    assert set(warned["gesprek"]) == {"energie in de buurt"}
    assert set(warned["waarschuwing"]) == {"stemblok", "vloed"}
    (outcome,) = night.reports["slimme_participatie/indicators/stellingen"][0].outcomes
    said = {v.rule.name: v for v in outcome.verdicts}
    for rule in ("geen_stemblok", "geen_vloed"):
        assert not said[rule].passed
        assert said[rule].examples[0]["gesprek"] == "energie in de buurt"
    assert outcome.passed


def test_cells_of_groups_cannot_be_had_by_subtraction(demo_night: Any) -> None:
    """As a reader would try: the exact total minus the shown groups leaves nobody, or at least ten people."""
    _, _, published, _ = demo_night
    cells = published["participatie_stellingen_per_groep"]
    totals = published["participatie_stellingen"].set_index(["gesprek", "stelling_id"])["stemmen"]
    assert (cells["stemmen"].dropna() >= 10).all()
    assert cells["stemmen"].notna().any()
    shown = cells.groupby(["gesprek", "stelling_id"])["stemmen"].sum()
    rest = totals[shown.index] - shown
    assert ((rest == 0) | (rest >= 10)).all()


def test_an_open_conversation_shows_no_figures_about_people(demo_night: Any) -> None:
    _, _, published, _ = demo_night
    talks = published["participatie_gesprekken"].set_index("gesprek")
    assert talks.loc["fietsroutes", "uitkomst"] == "gesprek_loopt_nog"
    rows = published["participatie_stellingen"]
    own = rows[rows["gesprek"] == "fietsroutes"]
    assert own["groepsconsensus"].isna().all()
    assert (own["stemmen"] > 0).any()
    reach = published["participatie_representativiteit"]
    assert reach[reach["gesprek"] == "fietsroutes"]["aantal_deelnemers"].isna().all()


def test_who_took_part_is_held_against_the_population(demo_night: Any) -> None:
    _, _, published, _ = demo_night
    rows = published["participatie_representativiteit"]
    own = rows[(rows["gesprek"] == "energie in de buurt") & (rows["kenmerk"] == "geslacht")].set_index(
        "klasse"
    )
    assert own.loc["man", "index_bevolking"] == pytest.approx(1.07, abs=0.15)
    assert own.loc["onbekend", "index_bevolking_status"] == "niet_van_toepassing"
    assert (
        not rows.drop(columns="toelichting")
        .astype("str")
        .apply(lambda c: c.str.contains("representatief"))
        .any()
        .any()
    )


def test_what_happened_with_ideas(demo_night: Any) -> None:
    _, _, published, _ = demo_night
    rows = published["participatie_doorwerking"].set_index("uitkomst")
    assert rows.loc["alle", "aantal_voorstellen"] == 300
    assert rows.drop("alle")["aantal_voorstellen"].sum() == 300
    assert rows.loc["overgenomen", "beantwoord_na_dagen_mediaan"] > 0


def test_planted_personal_data_is_in_no_text(demo_night: Any) -> None:
    platform, truth, _, _ = demo_night
    ideas = pd.read_csv(truth / "energie in de buurt" / "ideeen.csv", dtype="str")
    planted = ideas[ideas["gepland"].isin(["e_mail", "telefoon", "postcode", "bsn", "iban"])]
    texts = toolbox.lake_table(platform, "slimme_participatie/cleaned/teksten")
    everything = "\n".join(texts["tekst"])
    assert len(planted) > 5
    assert [v for v in planted["waarde"] if v in everything] == []
    assert texts["aantal_e_mail"].sum() > 0


def test_themes_say_that_they_are_not_checked(demo_night: Any) -> None:
    platform, _, published, _ = demo_night
    rows = published["participatie_themas"].set_index("gesprek")
    assert rows.loc["omgevingsvisie", "toelichting"] == "niet_gepubliceerd: niet gecontroleerd"
    sample = platform.settings.home / "controle" / "slimme_participatie" / "controle_omgevingsvisie.csv"
    header, *lines = csv.reader(io.StringIO(sample.read_text(encoding="utf-8")))
    assert header == ["gesprek", "soort", "tekst_id", "tekst", "thema"]
    assert {line[4] for line in lines} == {""}


# -- Other layouts -----------------------------------------------------------------------------------------


def one_conversation(platform: Platform, name: str = "proef") -> Path:
    """A small simulated conversation in the inbox."""
    scenario = simulation.Scenario(participants=40, statements=12)
    truth = platform.settings.home / "w" / name
    simulation.conversation(inbox(platform) / name, truth, scenario, last_day=CLOSED, days=5, seed=1)
    return inbox(platform) / name


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return toolbox.installation(tmp_path, NOW)


def votes_of(platform: Platform, name: str) -> pd.DataFrame:
    rows = toolbox.lake_table(platform, VOTES)
    own = rows[rows["gesprek"] == name]
    return own.groupby("stelling_id")["stem"].agg(["size", "sum"])


def test_layout_of_the_server_with_seconds_and_a_flipped_sign(platform: Platform) -> None:
    """Singular name, seconds, no summary, votes with agreement as -1: the same conversation comes out."""
    one_conversation(platform, "oud")
    new = one_conversation(platform, "nieuw")
    shutil.rmtree(new)
    shutil.copytree(inbox(platform) / "oud", new)
    votes = pd.read_csv(new / "votes.csv").assign(important=0)
    votes["timestamp"] //= 1000
    votes["vote"] = -votes["vote"]
    votes.to_csv(new / "votes.csv", index=False)
    comments = pd.read_csv(new / "comments.csv").drop(columns="datetime")
    comments["timestamp"] //= 1000
    comments.assign(**{"is-meta": "false"}).to_csv(new / "comments.csv", index=False)
    (new / "participants-votes.csv").rename(new / "participant-votes.csv")
    (new / "summary.csv").unlink()
    (new / "comment-groups.csv").write_text("comment-id,comment,total-votes\n", encoding="utf-8")
    make(platform, *NO_TEXTS)
    pd.testing.assert_frame_equal(votes_of(platform, "oud"), votes_of(platform, "nieuw"))


def test_without_a_log_the_matrix_is_the_votes(platform: Platform) -> None:
    folder = one_conversation(platform, "oud")
    shutil.copytree(folder, inbox(platform) / "matrix")
    (inbox(platform) / "matrix" / "votes.csv").unlink()
    make(platform, *NO_TEXTS)
    pd.testing.assert_frame_equal(votes_of(platform, "oud"), votes_of(platform, "matrix"))


def test_a_newer_delivery_takes_the_place_of_the_older(platform: Platform) -> None:
    folder = one_conversation(platform)
    kept = platform.settings.home / "kopie"
    shutil.copytree(folder, kept)
    make(platform, *NO_TEXTS)
    before = len(toolbox.lake_table(platform, VOTES))
    votes = (kept / "votes.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (kept / "votes.csv").write_text("".join(votes[: len(votes) // 2]), encoding="utf-8")
    later = toolbox.installation(platform.settings.home, NOW + timedelta(days=1))
    shutil.copytree(kept, inbox(later) / "proef")
    make(later, *NO_TEXTS)
    after = toolbox.lake_table(platform, VOTES)
    assert 0 < len(after) < before


def test_a_delivery_makes_only_its_own_conversation_pending(platform: Platform) -> None:
    one_conversation(platform, "een")
    one_conversation(platform, "twee")
    make(platform, *NO_TEXTS)
    table = platform.tables[VOTES]
    assert platform.plan().pending_of(table) == {}
    votes = one_conversation(platform, "twee") / "votes.csv"
    lines = votes.read_text(encoding="utf-8").splitlines(keepends=True)
    votes.write_text("".join(lines[:-5]), encoding="utf-8")
    make(platform, RAW)
    assert set(platform.plan().pending_of(table)) == {"twee"}


def decidim(header: str, row: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        target.writestr("stad.voorbeeld-open-data-proposals.csv", f"{header}\n{row}\n")
        target.writestr("stad.voorbeeld-open-data-users.csv", "id;name\n1;Piet\n")
        target.writestr("README.md", "uitleg")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (
            "id;author/id;author/name;title/nl;body/nl;state;answered_at;votes;likes/total;latitude;published_at",
            "7;42;Piet Jansen;Meer bomen;<p>In de straat</p>;accepted;2026-03-09 10:00:00;12;3;52.1;"
            "2026-03-01 10:00:00",
        ),
        (
            "id;category;author/name;title;body;state;answered_at;supports;endorsements;address;created_at",
            "7;groen;Piet Jansen;Meer bomen;In de straat;accepted;2026-03-09 10:00:00;12;Els,Jan;Dam 1;"
            "2026-03-01 10:00:00",
        ),
    ],
    ids=["nieuw", "oud"],
)
def test_decidim_in_old_and_new_columns(platform: Platform, header: str, row: str) -> None:
    put(platform, "decidim", {"export.zip": decidim(header, row)})
    make(platform, RAW, "slimme_participatie/cleaned/voorstellen", "slimme_participatie/cleaned/teksten")
    (idea,) = toolbox.records(toolbox.lake_table(platform, "slimme_participatie/cleaned/voorstellen"))
    assert (idea.voorstel_id, idea.uitkomst, idea.antwoord_dagen, idea.steun) == ("7", "overgenomen", 8.0, 12)
    (text,) = toolbox.records(toolbox.lake_table(platform, "slimme_participatie/cleaned/teksten"))
    assert text.tekst == "Meer bomen. In de straat"
    raw = toolbox.lake_table(platform, RAW).astype("str")
    assert not raw.apply(lambda c: c.str.contains("Piet|Els|52.1|Dam 1")).any().any()


def test_openstad_spreadsheets(platform: Platform) -> None:
    from openpyxl import Workbook

    sheets = {
        "inzendingen.xlsx": [
            [
                "Inzending ID",
                "Titel",
                "Beschrijving",
                "Datum",
                "Statussen",
                "Gebruiker ID",
                "Gebruiker e-mail",
            ],
            ["1", "Meer bomen", "Langs de weg", "2026-03-01 10:00:00", "Afgewezen", "5", "a@voorbeeld.nl"],
        ],
        "stemmen.xlsx": [
            ["Stem ID", "Inzending ID", "Stem", "Datum", "IP Adres", "Gebruiker ID"],
            *(
                [str(i), "1", "yes" if i % 3 else "no", "2026-03-02 10:00:00", "10.0.0.1", str(i)]
                for i in range(9)
            ),
        ],
        "reacties.xlsx": [
            ["Reactie ID", "Inzending ID", "Reactie", "Datum"],
            ["3", "1", "└ Goed idee zeg", "2026-03-03 10:00:00"],
        ],
    }
    folder = put(platform, "openstad", {})
    for name, rows in sheets.items():
        book = Workbook()
        for row in rows:
            book.active.append(row)
        book.save(folder / name)
    make(platform, *NO_TEXTS, "slimme_participatie/cleaned/voorstellen")
    votes = toolbox.lake_table(platform, VOTES)
    assert votes["stem"].value_counts().to_dict() == {1: 6, -1: 3}
    (idea,) = toolbox.records(toolbox.lake_table(platform, "slimme_participatie/cleaned/voorstellen"))
    assert idea.uitkomst == "afgewezen"
    raw = toolbox.lake_table(platform, RAW).astype("str")
    assert not raw.apply(lambda c: c.str.contains(r"10\.0\.0\.1|voorbeeld", regex=True)).any().any()
    assert "Goed idee zeg" in set(raw["tekst"])


def test_plain_csv_with_open_moderation(platform: Platform) -> None:
    put(
        platform,
        "gewoon",
        {
            "stemmen.csv": "deelnemer;stelling;stem;tijd\na;1;eens;2026-01-01 10:00:00\n"
            "b;1;oneens;2026-01-01 10:00:00\na;1;oneens;2026-01-02 10:00:00\na;9;eens;2026-01-02 10:00:00\n"
            "c;1;misschien;2026-01-02 10:00:00\nd;1;eens;2099-01-01 10:00:00\n;1;eens;2026-01-02 10:00:00\n",
            "stellingen.csv": "stelling;tekst;moderatie\n1;Meer bomen in de straat;\n2;Dat niet;-1\n",
            "gesprek.yaml": "titel: Bomen\nmoderatie: open\n",
        },
    )
    make(platform, *NO_TEXTS)
    votes = toolbox.lake_table(platform, VOTES)
    assert votes["stem"].tolist() == [-1, -1]
    aside = toolbox.quarantine(platform, VOTES)["reden"].value_counts().to_dict()
    assert aside == {
        "gewijzigd": 1, "stelling_onbekend": 1, "stem_onleesbaar": 1, "tijd_onmogelijk": 1,
        "deelnemer_onbekend": 1,
    }  # fmt: skip
    known = toolbox.lake_table(platform, "slimme_participatie/cleaned/stellingen").set_index("stelling_id")
    assert known["mag_tonen"].to_dict() == {"1": True, "2": False}


# -- Broken exports ----------------------------------------------------------------------------------------


def cut(text: str) -> str:
    return text[: int(len(text) * 0.6)]


BROKEN: dict[str, tuple[str, Callable[[str], str | bytes], str]] = {
    "afgekapt": ("votes.csv", lambda t: cut(t), "is the file cut off?"),
    "afgekapte tekst": ("comments.csv", lambda t: t.rstrip("\n") + ',"nog open', "no line end"),
    "onbekende kolom": (
        "votes.csv",
        lambda t: t.replace("timestamp", "timestamp,geheim", 1),
        "'geheim' is not known",
    ),
    "kolom ontbreekt": ("votes.csv", lambda t: t.replace("voter-id", "iemand", 1), "'voter-id' is missing"),
    "niet in UTF-8": ("comments.csv", lambda t: t.encode() + b"\xff\xfe\n", "is not UTF-8"),
    "leeg": ("votes.csv", lambda t: "", "empty"),
    "dubbele kolom": ("votes.csv", lambda t: t.replace("voter-id", "vote", 1), "stands twice"),
    "open aanhalingsteken": (
        "comments.csv",
        lambda t: t + '1,x,999,1,0,0,1,"open\n',
        "cannot be read as CSV",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_export_is_refused_with_a_report(platform: Platform, fault: str) -> None:
    file, spoil, said = BROKEN[fault]
    one_conversation(platform, "goed")
    broken = one_conversation(platform, "kapot")
    text = (broken / file).read_text(encoding="utf-8")
    spoilt = spoil(text)
    (broken / file).write_bytes(spoilt.encode() if isinstance(spoilt, str) else spoilt)
    report = make(platform, RAW)[RAW]
    assert [o.passed for o in report.outcomes] == [True, False]
    refused = platform.settings.inbox / "afgekeurd"
    message = (refused / "kapot.rapport.txt").read_text(encoding="utf-8")
    assert said in message
    assert file in message
    assert (refused / "kapot" / file).is_file()
    assert set(toolbox.lake_table(platform, RAW)["gesprek"]) == {"goed"}


@pytest.mark.parametrize("name", ["-begint-met-streepje", "onbekend", "naam'met aanhaling", "a" * 101])
def test_a_name_that_cannot_be_an_id_is_refused(platform: Platform, name: str) -> None:
    one_conversation(platform, "goed").rename(inbox(platform) / name)
    (outcome,) = make(platform, RAW)[RAW].outcomes
    assert not outcome.passed
    assert "expected a folder's name" in outcome.report


def test_a_file_outside_a_folder_is_refused(platform: Platform) -> None:
    (inbox(platform) / "votes.csv").write_text("timestamp\n", encoding="utf-8")
    (outcome,) = make(platform, RAW)[RAW].outcomes
    assert "outside a conversation's folder" in outcome.report


def test_a_folder_that_is_still_copied_is_left_alone(platform: Platform) -> None:
    folder = one_conversation(platform)
    (folder / "votes.csv.part").write_text("", encoding="utf-8")
    assert make(platform, RAW)[RAW].nothing_new
    assert folder.is_dir()


def test_strange_texts_go_to_quarantine_and_their_votes_count(platform: Platform) -> None:
    strange = {
        "1": '=HYPERLINK("http://voorbeeld.nl")', "2": "<script>x</script>", "3": "om\u202egekeerd",
        "4": "x" * 1_000_000,
        "5": "gewone tekst over bomen",
    }  # fmt: skip
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [["stelling", "tekst", "moderatie"], *([k, v, "1"] for k, v in strange.items())]
    )
    votes = "deelnemer,stelling,stem\n" + "".join(
        f"p{i},{s},{'eens' if i else 'oneens'}\n" for i in range(3) for s in strange
    )
    put(platform, "vreemd", {"stellingen.csv": text.getvalue(), "stemmen.csv": votes})
    make(platform, *NO_TEXTS, "slimme_participatie/cleaned/teksten")
    aside = toolbox.quarantine(platform, "slimme_participatie/cleaned/teksten")
    reasons = dict(zip(aside["tekst_id"], aside["reden"], strict=True))
    assert reasons == {"1": "formule", "2": "actieve_html", "3": "stuurtekens", "4": "te_lang"}
    assert "tekst" not in aside.columns
    assert len(toolbox.lake_table(platform, VOTES)) == 15


def test_without_text_no_list_of_names_is_loaded(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from koploper_pipelines.resources import dutch_names

    loaded = []
    monkeypatch.setattr(dutch_names, "names_and_addresses", lambda: (loaded.append(1), lambda _: [])[1])
    texts = "slimme_participatie/cleaned/teksten"
    put(platform, "leeg", {"ideeen.csv": "idee,tekst\n1,\n2,\n"})
    make(platform, RAW, texts)
    assert loaded == []
    assert toolbox.quarantine(platform, texts)["reden"].tolist() == ["leeg", "leeg"]
    put(platform, "vol", {"ideeen.csv": "idee,tekst\n1,Meer bomen in de straat\n"})
    make(platform, RAW, texts)
    assert loaded == [1]


def test_lists_that_are_none_are_refused(platform: Platform) -> None:
    (inbox(platform) / "themas.yaml").write_text("themas:\n  a: [een]\n  b: [twee]\n", encoding="utf-8")
    (inbox(platform) / "bevolking.csv").write_text("Geslacht;Leeftijd\nMannen;1\n", encoding="utf-8")
    (inbox(platform) / "controle_x.csv").write_text(
        "gesprek,soort,tekst_id,thema\nx,idee,1,\n", encoding="utf-8"
    )
    said = make(platform, *(f"slimme_participatie/raw/{t}" for t in ("themas", "bevolking", "controles")))
    reports = [r.outcomes[0].report for r in said.values()]
    assert "fewer than 10 example sentences" in reports[0]
    assert "is missing in the header" in reports[1]
    assert "is empty in every row" in reports[2]
