"""The values IMAP commands and responses are made of, each with its ``parse_x`` and ``write_x`` together.

Nothing here knows commands, states or engines.
"""
