"""Collecting: mail that lies on other servers, fetched into mailboxes here, as Post Office clients do.

Connect, receive, store, delete, close (RFC 1939's own picture of a session): ``remote`` is what any server looks like, ``pop3``
and later modules speak to one, ``ledger`` remembers what was stored, ``collector`` does it in the order that loses nothing.
"""
