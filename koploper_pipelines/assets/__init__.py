"""The experiments: a folder each, with five files named after the five layers.

Here belong the declarations of the tables and the thin functions that make their rows. The thinking is in
`methods/`, the outside world in `resources/`, permission in `gates/`. `build.py` finds every folder here;
nothing else names one.
"""
