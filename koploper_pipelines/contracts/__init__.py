"""Data contracts: one Open Data Contract Standard YAML file a table, in folders named as in `assets/`.

Here belong the YAML files and the model that reads them (`model.py`). What a contract *causes* does
not: the gate, the SQL table and the catalogue each derive their part from the model.
"""

from koploper_pipelines.contracts.model import (
    Column,
    Contract,
    ContractError,
    Expectation,
    Rule,
    contract_paths,
    load_contract,
)

__all__ = ["Column", "Contract", "ContractError", "Expectation", "Rule", "contract_paths", "load_contract"]
