"""Raw data in the sources' own formats, with the truth kept beside it.

Here belongs what makes up an experiment's raw input: files that a source could have delivered, with the
faults that the source's real data have, and next to them (never among them) the truth that the faults hide,
so that a method can be judged against what really happened.

Here does not belong: anything that reads, cleans or judges data, anything that the pipelines need in
production, and invented formats; each simulated file has the header and the notation of a real one.
"""
