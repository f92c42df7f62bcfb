"""Permission: contract → audit of the staged table → promotion, quarantine, ledger, guard across runs.

The only code that writes to the lake. `measures.py` turns an expectation into SQL, `audit.py` has Great
Expectations judge, `gate.py` stages, audits and promotes, `ledger.py` remembers, `plan.py` says which
partitions are pending and `table.py` makes a Dagster asset of it. No experiment is named here, and
nothing here computes a figure.
"""
