"""Published: the tables of the portfolio, in Dutch."""
