"""Published: what of the indicators may be shown, in Dutch, with a status beside every figure.

Here belong the disclosure rules as they apply to each table: closed months only, at least the set number of
devices behind every figure about people, no dominating device, nothing to be had by subtraction. The rules
themselves are in `methods/disclosure.py`; `assets/publicatie/` takes these tables to the warehouse.
"""
