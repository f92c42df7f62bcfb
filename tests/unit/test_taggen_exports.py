"""Exports of four systems: recognised, taken apart, broken in every way; marks and weights of judgements."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from koploper_pipelines.methods.taggen_en_gamen import answers, cleaning, exports, gold

HEADER = [
    "classification_id", "user_name", "user_id", "user_ip", "workflow_id", "workflow_name",
    "workflow_version", "created_at", "gold_standard", "expert", "metadata", "annotations", "subject_data",
    "subject_ids",
]  # fmt: skip
NO_QUESTIONS = pd.DataFrame(columns=list(answers.QUESTION_COLUMNS))


def metadata(start: str = "2026-03-01T10:00:00.000Z", end: str = "2026-03-01T10:00:20.000Z") -> str:
    size = [{"naturalWidth": 1000, "naturalHeight": 800}]
    return json.dumps({"started_at": start, "finished_at": end, "subject_dimensions": size})


def row(number: int, player: str = "jan", item: str = "7", value: Any = "kerk", **other: str) -> list[str]:
    said = {
        "classification_id": str(number),
        "user_name": player,
        "user_id": "" if player.startswith("not-logged-in") else "5",
        "user_ip": "0a1b",
        "workflow_id": "12",
        "workflow_name": "Foto's",
        "workflow_version": "3.1",
        "created_at": f"2026-03-01 10:{number % 60:02d}:20 UTC",
        "metadata": metadata(),
        "annotations": json.dumps([{"task": "T0", "task_label": "Wat?", "value": value}]),
        "subject_data": "{}",
        "subject_ids": item,
    }
    said |= other
    return [said.get(c, "") for c in HEADER]


def text(rows: list[list[str]], header: list[str] = HEADER, delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", delimiter=delimiter).writerows([header, *rows])
    return out.getvalue()


def landed(
    content: bytes | str, name: str = "bestand", when: str = "2026-03-02", file: str = "f1"
) -> pd.DataFrame:
    records = exports.read(content.encode() if isinstance(content, str) else content, name)
    return records.assign(bestand=file, geland_op=pd.Timestamp(when, tz="UTC"))


def judged(*files: pd.DataFrame, questions: pd.DataFrame = NO_QUESTIONS) -> cleaning.Judged:
    return cleaning.judge(pd.concat(files, ignore_index=True), questions)


def question(**said: Any) -> dict[str, Any]:
    blank = dict.fromkeys(answers.QUESTION_COLUMNS)
    return blank | {"groep": "12", "richting_nul_graden": 90.0} | said


def questions(*entries: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(entries, columns=list(answers.QUESTION_COLUMNS))


def reasons(found: cleaning.Judged) -> dict[str, int]:
    return {str(k): int(v) for k, v in found.set_aside["reden"].value_counts().items()}


# -- The four layouts ------------------------------------------------------------------------------------


def test_zooniverse_record() -> None:
    made = landed(text([row(1), row(2, "not-logged-in-0f", gold_standard="True", expert="expert")]))
    assert made["formaat"].tolist() == ["zooniverse"] * 2
    assert made.loc[0, ["groep", "versie", "bron_id", "item", "speler"]].tolist() == [
        "12",
        "3.1",
        "1",
        "7",
        "jan",
    ]
    assert made["is_anoniem"].tolist() == [False, True]
    assert made["is_deskundige"].tolist() == [False, True]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_plain_file_is_the_question_of_its_name(delimiter: str) -> None:
    content = text([["i1", "w1", "ja", "2026-03-01T10:00:00Z"]], list(exports.PLAIN_COLUMNS), delimiter)
    kept = judged(landed(content, "gebouw")).kept
    assert kept[["vraag", "item", "speler", "label"]].values.tolist() == [["gebouw", "i1", "w1", "ja"]]
    assert kept["tijd"].item() == pd.Timestamp("2026-03-01T10:00:00Z")


def test_pybossa_as_json_and_as_csv_say_the_same() -> None:
    run = {
        "id": 9, "created": "2026-03-01T10:00:00", "project_id": 4, "task_id": 77, "user_id": 3,
        "user_ip": None, "finish_time": "2026-03-01T10:00:30", "timeout": None, "calibration": None,
        "external_uid": None, "media_url": None, "info": {"gebouw": "kerk", "tags": ["a", "b"]},
    }  # fmt: skip
    as_csv = text(
        [[json.dumps(v) if isinstance(v, dict) else "" if v is None else str(v) for v in run.values()]],
        [f"task_run__{k}" for k in run],
    )
    kept = [judged(landed(content)).kept.drop(columns="beurt") for content in (json.dumps([run]), as_csv)]
    assert kept[0].equals(kept[1])
    assert kept[0].set_index("vraag")["label"].get("4.gebouw") == "kerk"
    assert kept[0].set_index("vraag")["labels"].get("4.tags") == '["a", "b"]'
    assert kept[0]["duur_s"].tolist() == [30, 30]
    trained = judged(landed(json.dumps([run | {"calibration": 1, "user_id": None, "user_ip": "x"}]))).kept
    assert trained["is_training"].all() and trained["is_anoniem"].all()
    assert (trained["gewicht"] == 0).all()


def test_label_studio_annotators_cancelled_and_percentages() -> None:
    point = {"from_name": "plek", "type": "keypointlabels", "original_width": 2000, "original_height": 1000}
    tasks = [
        {
            "id": 5,
            "project": 2,
            "annotations": [
                {
                    "id": 1,
                    "completed_by": {"id": 8, "email": "jan@voorbeeld.nl"},
                    "lead_time": 12.5,
                    "created_at": "2026-03-01T10:00:00Z",
                    "result": [
                        {"from_name": "wat", "type": "choices", "value": {"choices": ["kerk"]}},
                        point | {"value": {"x": 50, "y": 10}},
                    ],
                },
                {
                    "id": 2,
                    "completed_by": 9,
                    "was_cancelled": True,
                    "result": [{"from_name": "wat", "type": "choices", "value": {"choices": ["huis"]}}],
                },
                {
                    "id": 3,
                    "completed_by": 9,
                    "ground_truth": True,
                    "result": [{"from_name": "wat", "type": "choices", "value": {"choices": ["kerk"]}}],
                },
            ],
        }
    ]
    kept = judged(landed(json.dumps(tasks))).kept.set_index(["vraag", "speler", "is_deskundige"])
    assert kept.loc[("2.wat", "8", False), ["label", "duur_s", "gewicht"]].tolist() == ["kerk", 12.5, 1]
    assert kept.loc[("2.plek", "8", False), ["x_px", "y_px"]].tolist() == [1000, 100]
    cancelled = kept.loc[("2.wat", "9", False)]
    assert (bool(cancelled["is_geannuleerd"]), cancelled["gewicht"]) == (True, 0)
    assert kept.loc[("2.wat", "9", True), "gewicht"] == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"a,b\n1,2\n", "no header of a known layout"),
        (b"task,worker,label,kleur\n1,2,3,4\n", "column 'kleur' is not known"),
        (b"task,worker\n1,2\n", "no header"),
        (b"task,worker,label\n", "a header and no rows"),
        (b"task,task,worker,label\n1,1,2,3\n", "'task' stands twice"),
        ("task,worker,label\n".encode("utf-16"), "zero bytes"),
        (b'[{"id": 1, "info": ', "is it cut off?"),
        (b'[{"a": 1}]', "no known layout"),
        (b"[1, 2]", "without a list of objects"),
        (b'[{"id": 1, "annotations": []}]', "without any annotation"),
        (text([row(1)]).replace("subject_ids", "x").encode(), "without the column subject_ids"),
    ],
)
def test_what_is_no_known_export_is_refused_with_what_was_expected(content: bytes, said: str) -> None:
    with pytest.raises(exports.UnknownExport, match=said) as refused:
        exports.read(content, "naam")
    assert "expected" in str(refused.value)


@pytest.mark.parametrize("name", ["zooniverse/cls_export.csv", "zooniverse/chicago_sample_version5.csv"])
def test_every_record_of_real_exports_is_read(name: str, real_data: Callable[[str], Path]) -> None:
    content = real_data(name).read_bytes()
    with io.StringIO(content.decode()) as lines:
        told = list(csv.DictReader(lines))
    made = landed(content)
    assert made["leesfout"].isna().all()
    assert made["bron_id"].tolist() == [t["classification_id"] for t in told]
    assert made["is_deskundige"].sum() == sum(t["gold_standard"].lower() == "true" for t in told)
    found = judged(made)
    # The answers of the first task, without those that repeat an earlier one.
    first = [json.loads(t["annotations"])[0]["value"] for t in told]
    assert len(found.kept) + len(found.set_aside) == sum(len(json.loads(t["annotations"])) for t in told)
    assert set(reasons(found)) <= {"herhaling"}
    kept = found.kept[found.kept["vraag"].str.endswith(".T0")]
    if isinstance(first[0], str):
        assert kept["label"].value_counts().to_dict() == pd.Series(first).value_counts().to_dict()
    else:
        chosen = {tuple(sorted(c["choice"] for c in value)) for value in first}
        assert {tuple(json.loads(v)) for v in kept["labels"]} <= chosen


# -- Encodings and broken rows -----------------------------------------------------------------------------


def test_latin_and_utf8_give_the_same_and_a_mixture_sets_the_strange_rows_apart() -> None:
    rows = [row(n, item=str(n), value=v) for n, v in enumerate(["café", "brug", "Oirschotse knoest é"], 1)]
    content = text(rows).replace("\\u00e9", "é")
    utf8, latin = landed(content), landed(content.encode("cp1252"))
    assert utf8["antwoorden"].tolist() == latin["antwoorden"].tolist()
    assert utf8.equals(landed(b"\xef\xbb\xbf" + content.encode()))
    lines = content.encode().split(b"\n")
    lines[1] = content.encode("cp1252").split(b"\n")[1]
    mixed = judged(landed(b"\n".join(lines)))
    assert reasons(mixed) == {"regel_onleesbaar": 1}
    assert sorted(mixed.kept["label"]) == ["Oirschotse knoest é", "brug"]


GOOD = [
    row(n, f"speler{n}", str(n % 3), v) for n, v in enumerate(["kerk", "huis", "kerk", "brug", "huis"], 1)
]
MARKED = json.dumps([{"task": "T0", "value": [{"x": "links", "y": "boven", "tool": 0}]}])


def cut_json(line: str) -> str:
    fields = next(csv.reader([line]))
    fields[11] = fields[11][: len(fields[11]) // 2]
    return text([], fields).rstrip("\n")


BROKEN: dict[str, tuple[str, str]] = {
    "cut JSON": (cut_json(text([], row(99, "x"))), "antwoorden_onleesbaar"),
    "cut row": (text([], row(99, "x"))[:200], "regel_onleesbaar"),
    "nested quotes": (text([], row(99, "x")).rstrip("\n").replace('""', '"'), "regel_onleesbaar"),
    "too many fields": (text([], row(99, "x")).rstrip("\n") + ",extra", "regel_onleesbaar"),
    "unknown shape": (text([], row(99, "x", annotations=MARKED)).rstrip("\n"), "antwoord_verkeerde_vorm"),
    "no JSON": (text([], row(99, "x", annotations="kerk")).rstrip("\n"), "antwoorden_onleesbaar"),
    "no task": (text([], row(99, "x", annotations='[{"value": 1}]')).rstrip("\n"), "antwoorden_onleesbaar"),
    "nothing answered": (text([], row(99, "x", annotations="[]")).rstrip("\n"), "geen_taken"),
    "metadata": (text([], row(99, "x", metadata='{"started_at":')).rstrip("\n"), "metadata_onleesbaar"),
    "negative duration": (
        text([], row(99, "x", metadata=metadata("2026-03-01T10:00:20Z", "2026-03-01T10:00:00Z"))).rstrip(
            "\n"
        ),
        "duur_negatief",
    ),
    "double id": (text([], row(1, "x", "9")).rstrip("\n"), "dubbel_id"),
    "strange version": (text([], row(99, "x", workflow_version="v3")).rstrip("\n"), "versie_onleesbaar"),
    "no item": (text([], row(99, "x", "")).rstrip("\n"), "item_ontbreekt"),
}


# Of two records with one id the first counts, so a double one is never first.
PLACES = [(f, p) for f in BROKEN for p in (0, 2, 5) if (f, p) != ("double id", 0)]


@pytest.mark.parametrize(("fault", "place"), PLACES)
def test_a_broken_row_is_set_aside_and_nothing_else_changes(fault: str, place: int) -> None:
    line, reason = BROKEN[fault]
    header, *lines = text(GOOD).rstrip("\n").split("\n")
    sound = judged(landed("\n".join([header, *lines, ""]))).kept.drop(columns="volgorde")
    lines.insert(place, line)
    found = judged(landed("\n".join([header, *lines, ""])))
    assert reasons(found) == {reason: 1}
    assert found.kept.drop(columns="volgorde").equals(sound)
    # No text of what cannot be read: a name may stand anywhere in it.
    if reason == "regel_onleesbaar":
        broken = landed("\n".join([header, *lines, ""])).iloc[place]
        assert all(broken[c] == "" for c in ("speler", "antwoorden", "metadata", "onderwerp"))
        assert f"regel {place + 2}" in broken["leesfout"]


def test_a_value_over_two_lines_is_one_record() -> None:
    content = text([row(1, value="kerk", subject_data="regel een\nregel twee"), row(2, "piet")])
    assert len(landed(content)) == 2
    assert landed(content)["onderwerp"].iloc[0] == "regel een\nregel twee"
    # Also beside a broken row.
    assert landed(content + "99,x\n")["leesfout"].notna().tolist() == [False, False, True]


def test_last_value_without_a_line_end_is_believed_when_others_gave_it_too() -> None:
    assert reasons(judged(landed("task,worker,label\n1,a,ja\n2,b,ja"))) == {}
    assert reasons(judged(landed("task,worker,label\n1,a,jazeker\n2,b,ja"))) == {"regel_onleesbaar": 1}


# -- Which judgement counts --------------------------------------------------------------------------------


def test_the_first_of_repeated_judgements_counts_whatever_the_order_of_the_rows() -> None:
    rows = [row(2, value="huis"), row(1, value="kerk"), row(3, "piet")]
    found = judged(landed(text(rows)))
    assert found.kept.set_index("speler")["label"].to_dict() == {"jan": "kerk", "piet": "kerk"}
    assert found.set_aside[["speler", "label", "reden"]].values.tolist() == [["jan", "huis", "herhaling"]]
    plain = judged(landed("task,worker,label\n1,a,ja\n1,a,nee\n1,b,nee\n", "v"))
    assert plain.kept["label"].tolist() == ["ja", "nee"]
    # An empty turn does not take the place of the real one.
    late = judged(landed(text([row(1, value=None), row(2, value="kerk")])))
    assert late.kept["label"].tolist() == ["kerk"]


def test_a_later_export_of_the_same_workflow_doubles_nothing_and_corrects() -> None:
    first = landed(text(GOOD[:3]), when="2026-03-02", file="a")
    changed = [row(1, "speler1", "1", "molen"), *GOOD[1:]]
    second = landed(text(changed), when="2026-03-09", file="b")
    found = judged(first, second)
    assert reasons(found) == {"vervangen_door_latere_export": 3}
    alone = judged(second)
    columns = ["vraag", "item", "speler", "label"]
    assert (
        found.kept[columns].sort_values(columns).values.tolist()
        == alone.kept[columns].sort_values(columns).values.tolist()
    )
    # In whichever order the files were found; and a broken later copy replaces nothing.
    assert reasons(judged(second, first)) == {"vervangen_door_latere_export": 3}
    broken = landed(text([row(1, "speler1", "1", annotations="[{")]), when="2026-03-16", file="c")
    assert len(judged(first, second, broken).kept) == 5
    plain = [landed("task,worker,label\n1,a,ja\n", "v", d, d) for d in ("2026-03-02", "2026-03-03")]
    assert reasons(judged(*plain)) == {"opnieuw_geleverd": 1}


def test_marks_weigh_and_nothing_is_dropped() -> None:
    fast = metadata(end="2026-03-01T10:00:00.300Z")
    long = metadata(end="2026-03-02T10:00:00.000Z")
    outside = json.dumps([{"task": "T1", "value": [{"x": 1200, "y": 10}, {"x": 10, "y": 10}]}])
    rows = [
        row(1, "a"), row(2, "b", metadata=fast), row(3, "c", metadata=long), row(4, "d", value=None),
        row(5, "e", annotations=outside),
    ]  # fmt: skip
    kept = judged(landed(text(rows))).kept.set_index(["speler", "nummer"])
    assert kept["gewicht"].to_dict() == {
        ("a", 1): 1.0, ("b", 1): 0.5, ("c", 1): 1.0, ("d", 1): 0.0, ("e", 1): 0.0, ("e", 2): 1.0,
    }  # fmt: skip
    assert bool(kept.loc[("b", 1), "is_te_snel"]) and bool(kept.loc[("d", 1), "is_leeg"])
    assert bool(kept.loc[("c", 1), "is_duur_onmogelijk"]) and pd.isna(kept.loc[("c", 1), "duur_s"])
    assert kept["is_buiten_beeld"].to_dict()[("e", 1)]


def test_always_the_same_answer_is_marked_where_others_see_differences() -> None:
    rows = [(str(i), f"w{w}", ("ja" if i % 2 else "nee") if w else "ja") for i in range(60) for w in range(5)]
    content = "task,worker,label\n" + "".join(f"{i},{w},{v}\n" for i, w, v in rows)
    kept = judged(landed(content)).kept
    assert set(kept.loc[kept["is_eentonig"], "speler"]) == {"w0"}
    assert (kept.loc[kept["is_eentonig"], "gewicht"] == 0.25).all()
    # Where everybody sees the same, that is what there is to see.
    alike = content.replace("nee", "ja")
    assert not judged(landed(alike)).kept["is_eentonig"].any()
    # A short series proves nothing.
    few = "\n".join(content.split("\n")[: 1 + 5 * 12]) + "\n"
    assert not judged(landed(few)).kept["is_eentonig"].any()


def test_always_the_same_spot_is_marked() -> None:
    def marks(n: int, player: str, x: int) -> list[str]:
        said = [{"task": "T1", "value": [{"x": x, "y": 300}]}]
        return row(n, player, str(n % 100), annotations=json.dumps(said))

    rows = [marks(n, "bot", 500 + n % 3) for n in range(30)]
    rows += [marks(100 + n, "mens", 30 * n) for n in range(30)]
    kept = judged(landed(text(rows))).kept
    assert set(kept.loc[kept["is_eentonig"], "speler"]) == {"bot"}


# -- Questions -------------------------------------------------------------------------------------------


def test_questions_of_a_configuration_and_no_others() -> None:
    tasks = [
        {"task": "T0", "value": "Kerk"},
        {"task": "T1", "value": [{"task": "T2", "value": "Molens, kerken; Boten"}]},
        {"task": "T3", "value": ["Ja"]},
        {"task": "T9", "value": "x"},
    ]
    asked = questions(
        question(taak="T0", vraag="gebouw", soort="enkel", keuzes='["Kerk", "Huis"]'),
        question(taak="T2", vraag="tags", soort="vrij", taboe='["boten"]'),
        question(taak="T3", vraag="x", soort="negeren"),
    )
    found = judged(landed(text([row(1, annotations=json.dumps(tasks))])), questions=asked)
    kept = found.kept.set_index("vraag")
    assert kept.loc["gebouw", "label"] == "Kerk"
    assert json.loads(str(kept.loc["tags", "labels"])) == ["kerk", "molen"]
    assert kept.loc["tags", "tekst"] == "Molens, kerken; Boten"
    assert reasons(found) == {"taak_genegeerd": 1, "taak_onbekend": 1}
    wrong = judged(landed(text([row(1, value="Kasteel")])), questions=asked)
    assert reasons(wrong) == {"label_onbekend": 1}


def test_other_versions_of_a_workflow_asked_something_else() -> None:
    asked = questions(question(taak="T0", vraag="gebouw", soort="enkel", versie_vanaf="3.2", versie_tot="4"))
    versions = ["3.1", "3.2", "3.10", "4.9", "5.1"]
    rows = [row(n, f"s{n}", workflow_version=v) for n, v in enumerate(versions)]
    found = judged(landed(text(rows)), questions=asked)
    assert sorted(found.kept["speler"]) == ["s1", "s2", "s3"]
    assert reasons(found) == {"andere_versie": 2}


def test_a_fan_on_a_map_is_a_place_and_a_direction() -> None:
    fan = {"x": 100, "y": 50, "radius": 60, "spread": 40, "rotation": -30, "tool": 0}
    subject = json.dumps({"7": {"rd_l": 130000, "rd_b": 450000, "schaal": 2.5}})
    asked = questions(
        question(
            taak="T0", vraag="standpunt", soort="waaier",
            kaart_links="rd_l", kaart_boven="rd_b", kaart_m_per_pixel="schaal",
        )
    )  # fmt: skip
    made = text([row(1, annotations=json.dumps([{"task": "T0", "value": [fan]}]), subject_data=subject)])
    kept = judged(landed(made), questions=asked).kept.iloc[0]
    assert kept[["rd_x_m", "rd_y_m", "richting_graden"]].tolist() == [130250, 449875, 60]
    without = judged(landed(made)).kept.iloc[0]
    assert (without["soort"], pd.isna(without["rd_x_m"])) == ("waaier", True)


def test_nothing_chosen_from_a_list_is_an_answer() -> None:
    asked = questions(question(taak="T0", vraag="zichtbaar", soort="meerdere"))
    kept = judged(landed(text([row(1, value=[])])), questions=asked).kept.iloc[0]
    assert (kept["labels"], bool(kept["is_leeg"]), kept["gewicht"]) == ("[]", False, 1)


@pytest.mark.parametrize(
    ("typed", "normal"),
    [("Kerken", "kerk"), ("  boerderijen!", "boerderij"), ("molen", "molen"), ("BOMEN", "boom"), ("??", "")],
)
def test_typed_tags_in_their_dictionary_form(typed: str, normal: str) -> None:
    assert answers.normal_tag(typed) == normal


# -- Gold ------------------------------------------------------------------------------------------------


def gold_rows(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["bestand", "vraag", "item", "label"])
    return made.assign(rij=range(1, len(rows) + 1), leesfout=None, geland_op=None)


def test_gold_that_contradicts_itself_is_not_believed_and_a_later_file_corrects() -> None:
    rows = gold_rows(
        ("a", "v", "1", "ja"), ("a", "v", "2", "ja"), ("a", "v", "2", "nee"), ("a", "v", "3", "ja"),
        ("a", "v", "3", "ja"), ("a", "v", "4", ""), ("b", "v", "1", "nee"), ("b", "m", "1", "x"),
        ("b", "m", "1", "y"), ("b", "p", "1", "x"),
    )  # fmt: skip
    kinds = {"v": "enkel", "m": "meerdere", "p": "punt"}
    kept, aside, received = gold.judge(rows, pd.DataFrame(), kinds)
    assert received == len(rows) == len(kept) + len(aside)
    assert set(kept[["vraag", "item", "label"]].itertuples(index=False, name=None)) == {
        ("v", "1", "nee"), ("v", "3", "ja"), ("m", "1", "x"), ("m", "1", "y"),
    }  # fmt: skip
    assert aside["reden"].value_counts().to_dict() == {
        "tegenstrijdig": 2, "vervangen": 1, "dubbel": 1, "item_of_label_ontbreekt": 1,
        "vraag_zonder_labels": 1,
    }  # fmt: skip


def test_experts_of_an_export_are_gold_and_no_players() -> None:
    rows = [row(1, "exp", gold_standard="True", expert="expert"), row(2, "jan", value="huis")]
    found = judged(landed(text(rows)))
    experts = found.kept[found.kept["is_deskundige"]]
    kept, aside, _ = gold.judge(gold_rows(), experts, {"12.T0": "enkel"})
    assert kept[["vraag", "item", "label", "bron"]].values.tolist() == [["12.T0", "7", "kerk", "export"]]
    assert aside.empty
    # A file of experts goes before an export.
    kept, aside, _ = gold.judge(gold_rows(("a", "12.T0", "7", "brug")), experts, {"12.T0": "enkel"})
    assert kept["label"].tolist() == ["brug"] and aside["reden"].tolist() == ["vervangen"]
