"""The field's methods as pure functions on frames, arrays and DuckDB relations.

Here belongs the thinking: how a raw value is read, when a measurement counts, what a ride is, how a
figure is estimated. Here does not belong: Dagster, reading or writing of any kind, settings, clocks.
Every choice comes in as an argument, so that a method can be tested against published figures and
varied. Methods import nothing of ours but each other.
"""
