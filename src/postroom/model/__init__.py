"""The vocabulary every layer above shares: ids, flags, sets of UIDs, mailboxes, messages, changes, errors.

Pure values. Nothing here knows a protocol, an engine, a clock or a socket.
"""
