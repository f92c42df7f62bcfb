"""The outside world: lake, warehouse, sources, clock.

Here belongs all I/O of the platform. What may be written, and when, is decided in `gates/`; what is
computed, in `methods/`.
"""
