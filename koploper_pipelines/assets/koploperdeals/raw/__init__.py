"""Raw: what people keep and hand in about the portfolio, as they wrote it, with persons as keyed hashes.

Here belong what is a delivery and what is done on landing: the register (`register.py`), a workbook that is
read by `workbook.py`. Nothing is judged here that can be judged later.
"""
