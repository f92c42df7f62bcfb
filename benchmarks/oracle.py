"""What crowd-kit, krippendorff, red-dwarf and Faker make of the same; runs in an environment of their own.

Reads a NumPy archive with `item`, `player`, `label` (and `theta`), or `matrix` and `group` for red-dwarf, and
prints one JSON object: labels, values and the seconds of the work itself, without reading, importing or
preparing.
"""

import json
import sys
import time
import warnings

import numpy as np
import pandas as pd


def timed(work):
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def aggregate(codes, names):
    from crowdkit.aggregation import DawidSkene, MajorityVote, OneCoinDawidSkene

    makers = {
        "meerderheid": MajorityVote,
        "dawid_skene": lambda: DawidSkene(n_iter=100, tol=1e-5),
        "een_munt": lambda: OneCoinDawidSkene(n_iter=100, tol=1e-5),
    }
    rows = pd.DataFrame({"task": codes["item"], "worker": codes["player"], "label": codes["label"]})
    said = {}
    for name in names:
        labels, seconds = timed(lambda name=name: makers[name]().fit_predict(rows))
        said[name] = {
            "seconds": seconds,
            "labels": labels.sort_index().tolist() if len(labels) < 10_000 else None,
        }
    return said


def alpha(codes):
    import krippendorff

    items, labels = int(codes["item"].max()) + 1, int(codes["label"].max()) + 1

    def work():
        cell = codes["item"].astype(np.int64) * labels + codes["label"]
        counts = np.bincount(cell, minlength=items * labels).reshape(items, labels)
        return krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")

    value, seconds = timed(work)
    return {"value": float(value), "seconds": seconds}


def circular(codes):
    import krippendorff

    items = int(codes["item"].max()) + 1
    coders = int(codes["player"].max()) + 1
    table = np.full((coders, items), np.nan)
    table[codes["player"], codes["item"]] = codes["theta"]

    def metric(a, b, **kwargs):
        return np.sin((a - b) / 2) ** 2

    return {"value": float(krippendorff.alpha(reliability_data=table, level_of_measurement=metric))}


def opinions(codes):
    """Statements by red-dwarf, of given groups: the matrix has participants as rows, NaN for no vote."""
    from reddwarf.utils.consensus import select_consensus_statements
    from reddwarf.utils.stats import (
        calculate_comment_statistics_dataframes,
        select_representative_statements,
    )

    matrix = pd.DataFrame(codes["matrix"]).rename_axis("statement_id", axis=1)
    placed = codes["group"] >= 0
    statistics, consensus = calculate_comment_statistics_dataframes(matrix[placed], codes["group"][placed])
    chosen = select_representative_statements(statistics)
    majority = select_consensus_statements(matrix)
    return {
        "consensus": consensus["group-aware-consensus"].tolist(),
        "representative": {
            int(g): [[s["tid"], 1 if s["repful-for"] == "agree" else -1] for s in found]
            for g, found in chosen.items()
        },
        "majority": {side: [s["tid"] for s in found] for side, found in majority.items()},
    }


def people(codes):
    """Five hundred people with all that is theirs, by Faker, which has lists of names of its own."""
    from faker import Faker

    fake = Faker("nl_NL")
    fake.seed_instance(int(codes["seed"]))
    return [
        {
            "naam": f"{fake.first_name()} {fake.last_name()}",
            "voornaam": fake.first_name(),
            "achternaam": fake.last_name(),
            "adres": f"{fake.street_name()} {fake.building_number()}",
            "postcode": fake.postcode(),
            "telefoon": fake.phone_number(),
            "e_mail": fake.email(),
            "bsn": fake.ssn(),
            "iban": fake.iban(),
        }
        for _ in range(500)
    ]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    task, file, *names = sys.argv[1:]
    with np.load(file) as archive:
        given = {name: archive[name] for name in archive.files}
    tasks = {"alpha": alpha, "circular": circular, "opinions": opinions, "people": people}
    made = aggregate(given, names) if task == "labels" else tasks[task](given)
    print(json.dumps(made))
