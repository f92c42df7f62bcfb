"""Raw: what the sources gave, as they gave it, from the inbox and from their APIs.

Here belong the layouts of the sources and what is done on landing, a module a table. Nothing is judged or
converted here: that is the cleaned layer.
"""
