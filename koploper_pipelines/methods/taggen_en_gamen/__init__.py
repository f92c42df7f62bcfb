"""Methods of Taggen en Gamen: from players' judgements to labels, places and directions that can be trusted.

Here belong reading the answers of a game, cleaning them, and the statistics of many people who judge the same
items. Nothing here knows Dagster, the lake or the settings.
"""
