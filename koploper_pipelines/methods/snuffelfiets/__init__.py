"""Methods for bicycle-borne air measurements: cleaning, rides, passages through 100 m cells.

The large tables pass through here as DuckDB relations, in one set-based pass a step; a function takes
the connection of its relations and returns a lazy relation with a total ordering behind every choice,
so that evaluating it again gives the same rows.
"""
