"""SMTP, submission and LMTP as engines without I/O: grammar, commands, replies, message data, server, client.

Layout: ``grammar`` (one function per ABNF rule), ``commands`` and ``extensions`` (tables), ``replies``, ``data`` (message
content on the wire), ``server`` and ``client`` (state). LMTP (RFC 2033) and submission (RFC 6409) are profiles of the server.
"""
