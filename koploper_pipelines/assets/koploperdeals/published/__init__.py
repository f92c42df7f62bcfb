"""Published: the portfolio and its account, in Dutch, with a status beside every figure that can be absent.

Here belongs the shape in which tables are shown: the deals (`portefeuille.py`), the account
(`verantwoording.py`) and what came of it (`gebruik.py`). No assessor or contact person is shown, not even as
a hash.
"""
