"""Methods of the portfolio: the register's rules, the rules of accountability, phases, selection and plan.

Belongs here: what can be said of frames and arrays of the register alone. The workbook is read elsewhere.
"""
