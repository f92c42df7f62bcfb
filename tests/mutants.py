"""Take out each guard of the platform in turn: for each, a test must fail.

Here belong the list of guards, each with the smallest test that proves it, and the run over a copy of the
working tree. `make mutants` runs all of them; `python tests/mutants.py NAME ...` some; `--list` names them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "koploper_pipelines"
TIME_LIMIT_S = 900
PASSED, FAILED = 0, 1
"""Exit codes of pytest; others tell that it ran no tests, or could not run them."""
KILLED = "killed"


@dataclass(frozen=True)
class Mutant:
    """A guard that is taken out, and the test that must notice."""

    name: str
    file: str
    """Below the package."""
    text: str
    """Stands exactly once in the file."""
    instead: str
    test: str | None
    """Node of pytest, below `tests`; None while no test proves the guard, which fails the run."""

    @property
    def path(self) -> str:
        return f"{PACKAGE}/{self.file}"


PROMISES, TRUST, PLAN = "gates/test_promises.py::", "gates/test_trust.py::", "gates/test_plan.py::"
FOREIGN = TRUST + "test_a_foreign_commit_is_refused_and_named"
CLOSED_GATE = PROMISES + "test_a_failed_gate_leaves_every_byte_as_it_was"
NO_FIT = PROMISES + "test_what_does_not_fit_is_refused_and_the_column_named"
HELD_BACK = PROMISES + "test_a_held_back_day_stays_pending_and_is_tried_again_when_something_changed"
OTHER_MAKE = PLAN + "test_other_code_rules_or_settings_make_every_partition_pending"
QUARANTINE_READ = PROMISES + "test_the_quarantine_that_is_read_belongs_to_the_version_that_is_read"
QUARANTINE_TRUST = TRUST + "test_a_foreign_commit_in_the_quarantine_is_refused"
MEND = "faults/test_kill.py::test_the_next_start_mends_a_kill"
BROKEN, REAL = "integration/test_broken_input.py::", "integration/test_real_file.py::"
STAGED, READ = "gates/test_staging.py::", "unit/test_inbox.py::"
PASSAGES, CLEANING = "unit/test_passages.py::", "unit/test_cleaning.py::"

REFUSED, MONTHS = "gates/test_release.py::", "gates/test_closed_months.py::"
AT_ONCE, CHANGES = "gates/test_at_once.py::", "gates/test_contract_changes.py::"

AUDIT, GATE, STAGING, STEP = "gates/audit.py", "gates/gate.py", "gates/staging.py", "gates/step.py"
WORK_LIST, LAKE, INBOX = "gates/plan.py", "resources/lake.py", "resources/inbox.py"
LEDGER = "gates/ledger.py"
CKAN, HTTP, KNMI = "resources/ckan.py", "resources/http.py", "resources/knmi.py"
CKAN_TESTS, LAYOUTS = "unit/test_ckan.py::", "unit/test_reference_sources.py::"
SOURCES = "faults/test_sources.py::"
RELEASE, RAW = "assets/publicatie/release.py", "assets/snuffelfiets/raw/metingen.py"
SHOWN, SHOWN_MONTHS = "assets/snuffelfiets/published/shared.py", "assets/snuffelfiets/published/overview.py"
METHOD_CLEANING, METHOD_PASSAGES = "methods/snuffelfiets/cleaning.py", "methods/snuffelfiets/passages.py"
REGISTER, ACCOUNT = "assets/koploperdeals/raw/register.py", "methods/koploperdeals/accountability.py"
REGISTERS, ACCOUNTS = "integration/test_register.py::", "unit/test_accountability.py::"
DISCLOSURE, INTERVALS = "methods/disclosure.py", "methods/intervals.py"
PARTICIPATION = "methods/slimme_participatie"
MASKED = "unit/test_participation_texts.py::"
CHECKED = MASKED + "test_shares_need_enough_checks"
READING, READINGS = "methods/koploperdeals/duiding.py", "unit/test_interpretation_form.py::"
CHOICES, SPREAD = "methods/gevoeligheid.py", "unit/test_sensitivity.py::"

MUTANTS = (
    # -- The gate: what is refused, set aside or held back.
    Mutant("schema", STAGING, "if problems:", "if False:", NO_FIT + "[offered10-nogiets]"),
    Mutant(
        "infinite_numbers",
        GATE,
        "check_finite(self.contract, self.con.table(self.staged.relation))",
        "pass",
        NO_FIT + "[offered5-waarde]",
    ),
    Mutant(
        "conservation",
        GATE,
        "lost == 0",
        "True",
        PROMISES + "test_rows_in_are_rows_kept_and_set_aside[kwijt]",
    ),
    Mutant(
        "rules_see_days_of_before",
        GATE,
        "if self.head is not None:\n            current =",
        "if False:\n            current =",
        CHANGES + "test_rules_on_the_whole_table_still_see_the_days_of_before",
    ),
    Mutant(
        "gained_column",
        GATE,
        "for c in self.contract.columns if c.name in stored.columns)",
        "for c in self.contract.columns)",
        CHANGES + "test_one_day_is_made_again_under_a_contract_that_gained_a_column",
    ),
    Mutant(
        "lost_column",
        STEP,
        "if set(rows.columns) > set(of_contract):",
        "if False:",
        CHANGES + "test_a_column_that_the_contract_lost_is_read_no_more",
    ),
    Mutant(
        "column_without_a_value_yet",
        LAKE,
        " if name in present else nulls[name]",
        "",
        CHANGES + "test_a_day_that_becomes_empty_may_be_the_first_under_the_new_contract",
    ),
    Mutant(
        "documented_reasons",
        GATE,
        "used - known",
        "set()",
        PROMISES + "test_a_row_is_not_set_aside_for_a_reason_nobody_documented[zomaar]",
    ),
    Mutant(
        "row_set_aside",
        GATE,
        '" WHERE __reden IS NULL"',
        '" WHERE TRUE"',
        PROMISES + "test_rows_that_break_a_rule_are_set_aside_with_its_name",
    ),
    Mutant(
        "partition_held_back",
        GATE,
        "if v.rule.is_blocking for p in v.partitions",
        "if False for p in v.partitions",
        PROMISES + "test_a_day_that_fails_waits_while_the_others_are_committed",
    ),
    Mutant(
        "table_refused",
        AUDIT,
        'return not self.passed and self.rule.is_blocking and self.rule.scope == "tabel"',
        "return False",
        CLOSED_GATE + "[tabel]",
    ),
    Mutant(
        "most_rows_stay",
        GATE,
        "broken > MOST_ROWS_SHARE * number",
        "broken > number",
        CLOSED_GATE + "[rijen]",
    ),
    Mutant(
        "totals_of_the_days_in_hand",
        GATE,
        "if self.contract.partition is None or self.passage.append:",
        "if True:",
        PROMISES + "test_control_totals_hold_for_the_days_in_hand",
    ),
    Mutant(
        "not_evaluable_closes",
        AUDIT,
        "if not self.evaluable:",
        "if False:",
        PROMISES + "test_a_warning_that_cannot_be_evaluated_blocks_too",
    ),
    Mutant(
        "watchers_are_woken",
        "resources/event_log.py",
        "os.utime(self.path_for_shard(run_id))",
        "pass",
        "integration/test_event_log.py::test_who_watches_a_run_sees_its_events_as_they_come",
    ),
    Mutant(
        "both_counts_agree",
        AUDIT,
        "if differ or of_rows.passed != counted.passed:",
        "if False:",
        "gates/test_measures.py::test_counts_that_differ_close_the_gate",
    ),
    Mutant(
        "examples_redacted",
        AUDIT,
        "REDACTED if c in hidden else",
        "REDACTED if False else",
        PROMISES + "test_examples_of_broken_rows_do_not_name_who",
    ),
    # -- Trust: only what a gate wrote is read and built upon.
    Mutant(
        "signature",
        LAKE,
        "if not hmac.compare_digest(signature, self._signature(text)):",
        "if False:",
        FOREIGN + "[another_key]",
    ),
    Mutant(
        "stamp_of_this_table",
        LAKE,
        'return stamp if stamp.get("tabel") == table else None',
        "return stamp",
        FOREIGN + "[stamp_of_another_table]",
    ),
    Mutant(
        "chain",
        LAKE,
        'stamp.get("ouder") == chain.stamped_version',
        "True",
        FOREIGN + "[copy_the_last_stamp]",
    ),
    Mutant(
        "data_change",
        LAKE,
        "elif self._changes_data(",
        "elif False and self._changes_data(",
        FOREIGN + "[append]",
    ),
    Mutant(
        "schema_change",
        LAKE,
        'if any("metaData" in a or "protocol" in a for a in actions):',
        "if False:",
        FOREIGN + "[new_column]",
    ),
    Mutant(
        "rewrite_keeps_rows",
        LAKE,
        "return not _same_rows(",
        "return False and _same_rows(",
        FOREIGN + "[optimize_with_other_values]",
    ),
    Mutant(
        "foreign_is_refused", LAKE, "        if chain.foreign:", "        if False:", FOREIGN + "[append]"
    ),
    Mutant(
        "trusted_before_write",
        GATE,
        "self.head = gate.head(contract.path)",
        "self.head = gate.lake._verify(contract.path).head() if gate.lake.exists(contract.path) else None",
        FOREIGN + "[append]",
    ),
    Mutant(
        "quarantine_trusted_before_write",
        GATE,
        "head = self.gate.head(table)",
        "head = self.gate.lake._verify(table).head() if self.gate.lake.exists(table) else None",
        QUARANTINE_TRUST,
    ),
    Mutant(
        "quarantine_trusted_when_read", GATE, "self.lake.head(table + QUARANTINE)", "pass", QUARANTINE_TRUST
    ),
    # -- Quarantine and kills.
    Mutant(
        "quarantine_of_named_version",
        GATE,
        "return table + QUARANTINE, int(version)",
        "return table + QUARANTINE, self.lake.head(table + QUARANTINE).version",
        QUARANTINE_READ,
    ),
    Mutant(
        "mend_ends_a_pass",
        GATE,
        "in self.ledger.open_passes(table):",
        "in []:",
        QUARANTINE_READ,
    ),
    Mutant(
        "mend_undoes", GATE, "self._undo_quarantine(table, head, quarantine)", "pass", MEND + "[landing-2]"
    ),
    Mutant(
        "mend_clears_the_table",
        GATE,
        "self.lake.forget_files(table, begun",
        "print(table, begun",
        "faults/test_kill.py::test_the_next_start_clears_files_that_no_version_names[landing-3]",
    ),
    Mutant(
        "mend_clears_the_quarantine",
        GATE,
        "self.lake.forget_files(table + QUARANTINE, begun",
        "print(table, begun",
        "faults/test_kill.py::test_the_next_start_clears_files_that_no_version_names[replacement-2]",
    ),
    Mutant(
        "all_experiments_last",
        "automation/night.py",
        "last = _made_last(platform)",
        "last: set[str] = set()",
        "integration/test_automation.py::test_failed_work_is_planned_again_without_it_and_then_published",
    ),
    Mutant(
        "threads_take_turns",
        LAKE,
        "threading.RLock()",
        "__import__('contextlib').nullcontext()",
        AT_ONCE + "test_threads_of_one_process_read_while_another_writes",
    ),
    Mutant(
        "stored_types",
        GATE,
        "        self._check_stored_types()\n",
        "",
        CHANGES + "test_a_column_of_another_type_than_the_rows_that_stay_is_refused",
    ),
    Mutant(
        "only_partitions_in_hand",
        GATE,
        "if not others:",
        "if True:",
        STAGED + "test_only_rows_of_the_partitions_in_hand_are_taken[in_hand1]",
    ),
    Mutant(
        "numbers_are_cast",
        STAGING,
        'any(c.type == "number" for c in contract.columns)',
        "False",
        STAGED + "test_what_the_cast_would_change_is_not_staged_as_it_is",
    ),
    Mutant(
        "half_a_character",
        INBOX,
        "or decoder.getstate()[0]",
        "",
        READ + "test_half_a_character_before_plain_text_is_no_utf8[2]",
    ),
    Mutant(
        "lone_carriage_return",
        INBOX,
        "if returns != np.count_nonzero(read[ends[ends > 0] - 1] == RETURN):",
        "if False:",
        READ + "test_what_readers_could_differ_on_is_left_to_the_database",
    ),
    Mutant("mend_restores_what_is_named", GATE, "if named is not None:", "if False:", MEND + "[landing-2]"),
    Mutant(
        "mend_empties", GATE, "replace=list(quarantine.partitions)", "replace=[]", MEND + "[first write-2]"
    ),
    Mutant(
        "mend_finishes",
        GATE,
        'if head is not None and head.stamp["gang"] == begun["gang"]:',
        "if False:",
        MEND + "[replacement-3]",
    ),
    Mutant(
        "verdicts_before_rows",
        GATE,
        '{"gebeurtenis": "begonnen", "bron": self.offered.file}, *_entries(self.verdicts)]',
        '{"gebeurtenis": "begonnen", "bron": self.offered.file}]',
        PROMISES + "test_the_verdicts_on_committed_rows_are_known_whatever_happens_next",
    ),
    # -- Repair.
    Mutant(
        "repaired_with_its_quarantine",
        LAKE,
        "**good.stamp,",
        "**chain.stamp,",
        TRUST + "test_a_commit_that_slips_in_while_a_gate_works_is_found",
    ),
    Mutant(
        "repaired_with_its_files",
        LAKE,
        'chain.files = set(stamp["bestanden"])',
        "pass",
        TRUST + "test_a_file_that_a_repair_took_away_can_be_delivered_again",
    ),
    # -- Processes at once.
    Mutant(
        "one_writer_a_table",
        LAKE,
        "with FileLock(self._locks / f\"{table.replace('/', '__')}.lock\"):",
        "if True:",
        AT_ONCE + "test_two_processes_at_one_table_take_turns",
    ),
    Mutant(
        "log_without_holes",
        LAKE,
        'raise UntrustedTable(f"{table}: its log lacks version {chain.version + 1}")',
        "pass",
        TRUST + "test_a_log_with_a_hole_is_refused",
    ),
    Mutant(
        "folders_of_partitions",
        LAKE,
        """if f"{column}={named}" not in""",
        """if False and f"{column}={named}" not in""",
        TRUST + "test_a_file_in_the_folder_of_another_partition_is_not_read",
    ),
    Mutant(
        "what_is_not_trusted_is_told",
        WORK_LIST,
        "distrusted.append(Pending(table.path, partition, why))",
        "pass",
        TRUST + "test_after_a_repair_everything_is_made_again",
    ),
    Mutant(
        "one_landing_at_a_time",
        STEP,
        ', platform.lake.lock(f"{table.path}/landing")',
        "",
        AT_ONCE + "test_two_landings_of_one_inbox_take_turns",
    ),
    Mutant(
        "mend_waits_its_turn",
        GATE,
        "with self.lake.lock(table):\n            self._mend(table)",
        "if True:\n            self._mend(table)",
        AT_ONCE + "test_mending_leaves_a_pass_that_goes_on_alone",
    ),
    Mutant(
        "ledger_has_one_writer",
        LEDGER,
        "with self._lake.lock(TABLE):",
        "if True:",
        AT_ONCE + "test_two_tables_at_once_share_the_ledger",
    ),
    # -- The work list.
    Mutant(
        "held_back_stays_pending",
        GATE,
        "{p: self.passage.provenance[p] for p in promoted}",
        "{p: self.passage.provenance[p] for p in self.partitions}",
        HELD_BACK,
    ),
    Mutant(
        "inputs_in_provenance",
        WORK_LIST,
        "{r.table: self._version(table, r, partition) for r in table.reads}",
        "{}",
        PLAN + "test_footprint_is_on_the_right_side",
    ),
    Mutant("code_in_provenance", WORK_LIST, '"code": table.code', '"code": ""', OTHER_MAKE),
    Mutant(
        "rules_in_provenance", WORK_LIST, '"regels": table.contract.rules_hash', '"regels": ""', OTHER_MAKE
    ),
    Mutant(
        "settings_in_provenance",
        WORK_LIST,
        'self._settings.get(table.path, "")',
        '""',
        OTHER_MAKE,
    ),
    Mutant(
        "also_in_provenance",
        WORK_LIST,
        'made_of["verder"] = fingerprint(self._also[table.path]())',
        "pass",
        OTHER_MAKE,
    ),
    Mutant(
        "closed_months_in_provenance",
        WORK_LIST,
        "if table.closes_months:",
        "if False:",
        PLAN + "test_month_that_closes_concerns_only_tables_that_close_months",
    ),
    Mutant(
        "footprint",
        WORK_LIST,
        "set(shifted(partition, -read.before, read.after))",
        "{partition}",
        PLAN + "test_footprint_is_on_the_right_side",
    ),
    Mutant(
        "judged_again_under_other_rules",
        STEP,
        "older = [p for p in partitions if",
        "older = [p for p in () if",
        PROMISES + "test_days_gated_under_other_rules_are_judged_again_before_they_are_used",
    ),
    Mutant(
        "refused_tonight",
        STEP,
        "if night is None or not partitions or not platform.ledger.was_refused(table.path, night):",
        "if True:",
        HELD_BACK,
    ),
    Mutant(
        "refused_tonight_with_the_same_inputs",
        STEP,
        "before.get(p) == json.loads(json.dumps(plan.provenance(table, p)))",
        "p in before",
        HELD_BACK,
    ),
    # -- The inbox.
    Mutant(
        "landed_before_kept",
        LAKE,
        'chain.files.add(stamp["bestand"])',
        "pass",
        TRUST + "test_a_file_that_a_repair_took_away_can_be_delivered_again",
    ),
    Mutant(
        "landed_before",
        RAW,
        "if content in self.landing.deliveries:\n                return None\n            rows",
        "if False:\n                return None\n            rows",
        REAL + "test_the_same_bytes_under_another_name_or_packed_change_nothing",
    ),
    Mutant(
        "report_quotes_no_row",
        INBOX,
        "_csv_problem(name, str(error), len(header))",
        "str(error)",
        BROKEN + "test_no_report_quotes_a_device_or_a_row",
    ),
    # -- Sources on the network.
    Mutant(
        "source_rising_numbers",
        CKAN,
        "if number <= previous:",
        "if False:",
        CKAN_TESTS + "test_what_does_not_pass_is_named[herhaald]",
    ),
    Mutant(
        "source_schema",
        CKAN,
        "if not isinstance(record, dict) or set(record) != set(self.columns):",
        "if False:",
        CKAN_TESTS + "test_another_shape_is_named[said3-came or went]",
    ),
    Mutant(
        "source_deadline",
        HTTP,
        "if time.monotonic() > deadline:",
        "if False:",
        CKAN_TESTS + "test_what_does_not_pass_is_named[druppelt]",
    ),
    Mutant(
        "source_wrong_key",
        HTTP,
        "if status in KEY_REFUSED:",
        "if False:",
        CKAN_TESTS + "test_a_wrong_key_is_named_and_never_shown",
    ),
    Mutant(
        "source_stored_late",
        RAW,
        "if number > here.get(block, 0)",
        "if False",
        SOURCES + "test_counter_test_rows_stored_late_are_lost_without_watermark_and_counts[without3-0]",
    ),
    Mutant(
        "source_page_refused",
        RAW,
        "        if page.is_refused:\n            return",
        "        pass",
        SOURCES + "test_a_refused_page_keeps_those_after_it_from_landing",
    ),
    Mutant(
        "source_cut_off",
        KNMI,
        'if body[-1:] != b"\\n":',
        "if False:",
        LAYOUTS + "test_an_answer_of_the_weather_service_that_is_cut_off_in_its_last_value_is_not_believed",
    ),
    Mutant(
        "source_needs_a_person",
        "gates/sources.py",
        "evaluable=not state.needs_a_person",
        "evaluable=True",
        "integration/test_reference.py::"
        "test_a_source_that_refuses_or_changed_ends_red_with_nothing_loaded[sleutel-refuses the key]",
    ),
    # -- The release, and what of an experiment may be shown.
    Mutant(
        "release_participants",
        RELEASE,
        "least = platform.settings.min_participants",
        "least = 0",
        REFUSED + "test_figures_on_too_few_people_are_refused[4]",
    ),
    Mutant(
        "release_open_months",
        RELEASE,
        "if m >= platform.first_open_month",
        "if False",
        REFUSED + "test_figures_of_an_open_month_are_refused",
    ),
    Mutant(
        "release_status",
        RELEASE,
        "and r[status] in ABSENT",
        "and False",
        REFUSED + "test_a_figure_that_its_status_calls_absent_is_refused[onderdrukt]",
    ),
    Mutant(
        "release_totals",
        RELEASE,
        "if left != right:",
        "if False:",
        REFUSED + "test_tables_that_disagree_are_refused",
    ),
    Mutant(
        "closed_months",
        SHOWN,
        'rows[rows["maand"] < step.first_open_month]',
        "rows",
        MONTHS + "test_open_months_are_not_published[pm25_cel]",
    ),
    Mutant(
        "closed_months_overzicht",
        SHOWN_MONTHS,
        'is_closed = rows["maand"] < step.first_open_month',
        'is_closed = rows["maand"] != ""',
        MONTHS + "test_the_overview_shows_process_counts_of_open_months_and_no_figures",
    ),
    # -- Methods.
    Mutant(
        "zones",
        METHOD_PASSAGES,
        ") <= {zones.zone_radius_m} * {zones.zone_radius_m} AS is_in_zone",
        ") < 0 AS is_in_zone",
        PASSAGES + "test_both_ends_of_every_ride_are_cut",
    ),
    Mutant(
        "zones_left_out",
        METHOD_PASSAGES,
        "WHERE NOT is_in_zone",
        "WHERE TRUE",
        PASSAGES + "test_all_riding_rows_are_in_a_passage_or_in_a_zone",
    ),
    Mutant(
        "zones_shifted",
        METHOD_PASSAGES,
        "rd_x + {shift} * cos({turn}) AS zone_x, rd_y + {shift} * sin({turn}) AS zone_y",
        "rd_x AS zone_x, rd_y AS zone_y",
        PASSAGES + "test_offset_follows_from_device_and_neighbourhood_alone",
    ),
    Mutant(
        "rides_have_ends",
        METHOD_PASSAGES,
        "if found != rides:",
        "if False:",
        PASSAGES + "test_a_ride_without_its_ends_is_refused",
    ),
    Mutant(
        "complementary_suppression",
        DISCLOSURE,
        "hidden = complementary(cells, hidden, rules, adds_up)",
        "pass",
        "unit/test_disclosure.py::TestComplementary::test_one_hidden_cell_takes_the_next_smallest_along",
    ),
    Mutant(
        "largest_share",
        DISCLOSURE,
        "~(enough & spread)",
        "~enough",
        "unit/test_disclosure.py::TestOneCell::test_limits",
    ),
    Mutant(
        "two_way_clustering",
        INTERVALS,
        "np.maximum(by_device + by_day - by_both, np.maximum(by_device, by_day))",
        "by_device",
        "unit/test_intervals.py::TestOracle::test_agrees_with_the_definition",
    ),
    Mutant(
        "uncalibrated_devices_pooled",
        "methods/snuffelfiets/excess.py",
        'used = used.merge(compared, on=["maand", "apparaat"])',
        "used = used.copy()",
        "unit/test_calibration.py::TestExcess::test_uncalibrated_devices_are_not_pooled",
    ),
    Mutant(
        "cells_told_apart_by_the_same_rides",
        "methods/snuffelfiets/contrast.py",
        "roads.traffic_like(passages[quarter == 3 - own])",
        "roads.traffic_like(passages[quarter == own])",
        "unit/test_contrast.py::TestTrafficLike::test_without_a_contrast_none_is_found",
    ),
    Mutant(
        "looked_up_days_make_days",
        WORK_LIST,
        "self._kind(read.table) is None or read.lookup",
        "self._kind(read.table) is None",
        "gates/test_plan.py::test_days_of_what_is_only_looked_up_change_days_and_make_none",
    ),
    # -- The register of deals: what is refused, hidden and judged.
    Mutant(
        "register_with_findings",
        REGISTER,
        'raise SchemaMismatch(f"{self.name}: {len(findings)} bevindingen\\n{listed}")',
        "pass",
        REGISTERS + "test_mistake_leaves_the_register_as_it_was",
    ),
    Mutant(
        "same_register_again",
        REGISTER,
        "if newest == content:",
        "if False:",
        REGISTERS + "test_new_register_takes_the_place_of_the_old_and_the_same_changes_nothing",
    ),
    Mutant(
        "persons_in_the_register",
        REGISTER,
        'values[column] = pseudonym(key, " ".join(values[column].lower().split()))',
        "pass",
        REGISTERS + "test_no_person_is_named_anywhere",
    ),
    Mutant(
        "control_totals",
        "assets/koploperdeals/raw/workbook.py",
        "findings += _totals(register)",
        "pass",
        REGISTERS + "test_missed_control_total_is_refused_with_programme_colour_expected_and_found",
    ),
    Mutant(
        "formula_in_text",
        "methods/koploperdeals/cells.py",
        "if _INJECTED.match(value):",
        "if False:",
        "unit/test_register_checks.py::test_cell_that_is_wrong_says_what_was_expected",
    ),
    Mutant(
        "budget_limit",
        ACCOUNT,
        "gap * 100 < GREEN_BELOW * size",
        "gap * 100 <= GREEN_BELOW * size",
        ACCOUNTS + "test_verdict_at_and_around_the_limits",
    ),
    Mutant(
        "budget_in_binary",
        ACCOUNT,
        "verdict[gap * 100 > RED_ABOVE * size] = COLOURS[2]",
        "verdict[np.abs(realised - budget) / np.abs(budget) > RED_ABOVE / 100] = COLOURS[2]",
        ACCOUNTS + "test_verdict_at_and_around_the_limits",
    ),
    Mutant(
        "impossible_percentage",
        ACCOUNT,
        "rows.loc[alone & ~possible, ",
        "rows.loc[alone & possible, ",
        ACCOUNTS + "test_percentage_that_no_whole_number_gives",
    ),
    Mutant(
        "score_of_one_assessor",
        "assets/koploperdeals/published/portefeuille.py",
        "FOR_A_MEAN, FOR_A_SPREAD = 2, 3",
        "FOR_A_MEAN, FOR_A_SPREAD = 1, 2",
        REGISTERS + "test_score_of_one_assessor_is_not_shown_nor_the_spread_of_two",
    ),
    Mutant(
        "competing_risks",
        "methods/koploperdeals/phases.py",
        "every = np.sum(list(ended.values()), axis=0)",
        "every = ended[MOVED]",
        "unit/test_portfolio.py::test_incidence_and_its_error_are_those_of_statsmodels",
    ),
    Mutant(
        "error_bits_critical",
        METHOD_CLEANING,
        'f"foutcode & {ERROR_BITS_CRITICAL} <> 0"',
        'f"foutcode = {ERROR_BITS_CRITICAL}"',
        CLEANING + "test_error_code_is_read_bit_by_bit",
    ),
    Mutant(
        "error_bit_pm_read",
        METHOD_CLEANING,
        'f"foutcode & {ERROR_BIT_PM_READ} <> 0"',
        'f"foutcode = {ERROR_BIT_PM_READ}"',
        CLEANING + "test_error_code_is_read_bit_by_bit",
    ),
    # -- Slimme Participatie: what is called a group, a difference, a checked share or a name.
    Mutant(
        "one_axis",
        f"{PARTICIPATION}/groups.py",
        "elif not observed > limits[1]:",
        "elif False:",
        "unit/test_participation_groups.py::test_stability_alone_is_fooled_by_one_axis",
    ),
    Mutant(
        "held_out_votes",
        f"{PARTICIPATION}/statements.py",
        "votes.on(~inside)",
        "votes",
        "unit/test_participation_statements.py::test_noise_shows_nothing_distinctive_on_held_out_votes",
    ),
    Mutant(
        "flipped_sign",
        f"{PARTICIPATION}/contributions.py",
        "THEN -1 ELSE 1 END AS teken",
        "THEN 1 ELSE 1 END AS teken",
        "integration/test_participation_exports.py::test_votes_are_the_matrix_in_every_cell[server]",
    ),
    Mutant(
        "enough_checked",
        f"{PARTICIPATION}/themes.py",
        "if len(checked) < MIN_CHECKED:",
        "if False:",
        CHECKED + "[199-1.0-False]",
    ),
    Mutant(
        "accuracy_of_checked",
        f"{PARTICIPATION}/themes.py",
        ">= MIN_ACCURACY",
        ">= 0",
        CHECKED + "[200-0.69-False]",
    ),
    Mutant(
        "only_the_sample",
        "assets/slimme_participatie/indicators.py",
        '["gecontroleerd_thema"].where(rows["is_steekproef"])',
        '["gecontroleerd_thema"]',
        "integration/test_participation_themes.py::test_shares_appear_when_enough_of_the_sample_is_checked",
    ),
    Mutant(
        "shares_unchecked",
        "assets/slimme_participatie/published.py",
        "if not (closed and themes.may_be_published(checked)):",
        "if not closed:",
        "integration/test_participation_themes.py"
        "::test_a_classifier_that_people_disagree_with_publishes_nothing",
    ),
    Mutant(
        "names_that_go_on",
        f"{PARTICIPATION}/personal.py",
        'if kind == "naam" else None',
        "if False else None",
        MASKED + "test_a_name_goes_on_behind_what_the_list_knows",
    ),
    Mutant(
        "dates_are_no_telephones",
        f"{PARTICIPATION}/personal.py",
        "if not _A_DATE.match(text, match.start):",
        "if True:",
        MASKED + "test_clean_sentences_are_left_alone",
    ),
    Mutant(
        "words_are_no_names",
        "resources/dutch_names.py",
        "return starts_sentence and text[start:end].lower() in WORDS",
        "return False",
        MASKED + "test_clean_sentences_are_left_alone",
    ),
    Mutant(
        "lists_only_with_text",
        "assets/slimme_participatie/cleaned.py",
        "if len(said):",
        "if True:",
        "integration/test_participation.py::test_without_text_no_list_of_names_is_loaded",
    ),
    # -- What is said of figures: readings, their spread over choices, effects.
    Mutant(
        "reading_outdated",
        READING,
        "low <= now.value <= high",
        "True",
        READINGS + "test_a_figure_that_left_its_interval_has_moved[8.99]",
    ),
    Mutant(
        "reading_outdated_only_then",
        READING,
        "low <= now.value <= high",
        "low == now.value",
        READINGS + "test_a_figure_within_the_interval_that_it_had_has_not_moved[10.0]",
    ),
    Mutant(
        "reading_pinned",
        "assets/koploperdeals/raw/duiding.py",
        "rows = self.platform.lake.relation(con, self.contract.path, self.version)",
        "rows = self.platform.lake.relation("
        "con, self.contract.path, self.platform.lake.head(self.contract.path).version)",
        "integration/test_interpretations.py::"
        "test_the_pinned_figure_is_that_of_its_release_and_not_of_the_day_it_lands",
    ),
    Mutant(
        "shared_cells",
        CHOICES,
        "frozenset.intersection(*found)",
        "frozenset.union(*found)",
        SPREAD + "test_figures_are_on_the_cells_that_all_combinations_have",
    ),
    Mutant(
        "known_wrong_out_of_the_spread",
        CHOICES,
        'all(v["is_defensible"] or v["is_default"] for v in t)',
        "True",
        SPREAD + "test_a_wrong_level_is_shown_and_neither_spreads_nor_counts",
    ),
    Mutant(
        "variants_of_few",
        "assets/koploperdeals/published/gevoeligheid.py",
        "people < least",
        "False",
        SPREAD + "test_figures_of_too_few_participants_are_hidden_in_every_row",
    ),
    Mutant(
        "effect_too_short",
        "methods/koploperdeals/effecten.py",
        "if before + after < MIN_MONTHS:",
        "if False:",
        "unit/test_effects.py::test_what_the_data_cannot_carry_is_refused_in_plain_dutch",
    ),
    Mutant(
        "effect_one_against_one",
        "methods/koploperdeals/effecten.py",
        "if treated == controls == 1:",
        "if False:",
        "unit/test_effects.py::test_what_the_data_cannot_carry_is_refused_in_plain_dutch",
    ),
)


class Misfit(Exception):
    """The list is out of step with the code or its tests, so that nothing can be said of a guard."""


def occurrences(mutant: Mutant, root: Path = ROOT) -> int:
    """How often the mutant's text stands in its file."""
    return (root / mutant.path).read_text(encoding="utf-8").count(mutant.text)


@contextmanager
def copied_tree() -> Iterator[Path]:
    """A copy of the working tree, without what git ignores, that is proven to be what tests import."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with tempfile.TemporaryDirectory(prefix="mutanten-") as folder:
        tree = Path(folder).resolve() / "boom"
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, tree / name)
        imported = subprocess.run(
            [sys.executable, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)"],
            cwd=tree,
            env=_environment(tree),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        if not Path(imported).resolve().is_relative_to(tree):
            raise Misfit(f"{imported} is imported, not the copy in {tree}")
        yield tree


def _environment(tree: Path) -> dict[str, str]:
    shared = os.environ.get("KOPLOPER_SHARED_DATA") or str(ROOT.parent / "shared" / "data")
    # No bytecode: that of a file changed within a second, to the same length, would be taken for current.
    own = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "KOPLOPER_SHARED_DATA": shared}
    # A test that skips proves nothing.
    return {**os.environ, **own, "KOPLOPER_NO_SKIP": "1"}


def _pytest(tree: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    nodes = [f"tests/{t}" for t in tests]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *nodes],
        cwd=tree,
        env=_environment(tree),
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
    )


def require_passing(tree: Path, mutants: Sequence[Mutant]) -> None:
    """Raise Misfit unless the mutants' tests pass while no guard is taken out."""
    tests = sorted({m.test for m in mutants if m.test is not None})
    if tests and (done := _pytest(tree, tests)).returncode != PASSED:
        raise Misfit(f"the tests do not pass as the code is:\n{_tail(done)}")


def judge(tree: Path, mutant: Mutant) -> str:
    """Take a guard out of the copied tree and run its test: KILLED, or what is wrong."""
    if (number := occurrences(mutant, tree)) != 1:
        return f"its text stands {number} times in {mutant.path}, expected once"
    if mutant.test is None:
        return "SURVIVES: no test proves this guard"
    file = tree / mutant.path
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound.replace(mutant.text, mutant.instead), encoding="utf-8")
    try:
        done = _pytest(tree, [mutant.test])
    except subprocess.TimeoutExpired:
        return f"its test did not end within {TIME_LIMIT_S} s"
    finally:
        file.write_text(sound, encoding="utf-8")
    if done.returncode == FAILED:
        return KILLED
    if done.returncode == PASSED:
        return f"SURVIVES: {mutant.test} passes"
    return f"pytest ended with {done.returncode}:\n{_tail(done)}"


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])


def main() -> int:
    """Run all mutants, or those named; 0 when each was killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run; all when none is named")
    parser.add_argument("--list", action="store_true", help="name them and the test of each")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - {m.name for m in MUTANTS}):
        parser.error(f"no such mutant: {', '.join(unknown)}")
    chosen = [m for m in MUTANTS if not given.names or m.name in given.names]
    if given.list:
        print("\n".join(f"{m.name:38} {m.test}" for m in chosen))
        return 0
    with copied_tree() as tree:
        require_passing(tree, chosen)
        verdicts: dict[str, str] = {}
        for mutant in chosen:
            verdicts[mutant.name] = judge(tree, mutant)
            print(f"{len(verdicts)}/{len(chosen)} {mutant.name}: {verdicts[mutant.name]}", flush=True)
    print(f"\n{'guard taken out':38} {'file':36} verdict")
    for mutant in chosen:
        print(f"{mutant.name:38} {mutant.file:36} {verdicts[mutant.name].splitlines()[0]}")
    killed = sum(v == KILLED for v in verdicts.values())
    print(f"{killed} of {len(chosen)} killed")
    return 0 if killed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
