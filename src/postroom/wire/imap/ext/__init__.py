"""Extensions of IMAP4rev1, a file each: its grammar for both sides, its rows, its capability.

A file here knows values, commands and responses; it knows neither engines nor ``table.py``, which lists it.
"""
