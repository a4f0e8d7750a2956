"""Copying: whole IMAP accounts from one server to another, once or again and again, with a proof at the end.

``account`` is an account on either side, ``folders`` says which mailbox over there is which over here, ``ledger`` remembers which
message became which, ``copier`` does the work, ``proof`` compares both sides octet by octet.
"""
