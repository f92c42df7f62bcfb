"""Methods of Slimme Participatie: opinion groups, statements, texts, themes and who took part.

Belongs here: pure functions on arrays and frames. Does not belong here: platform layouts (see
``assets/slimme_participatie/raw.py``) and what may be published (see ``methods/disclosure.py``).
"""
