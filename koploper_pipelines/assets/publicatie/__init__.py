"""The release: gated published tables of all experiments, to the database.

Here belong the tables about the release itself (quality, quarantine, releases) and the step that makes a
release current. No figure of an experiment is computed or changed here.
"""
