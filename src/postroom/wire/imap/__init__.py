"""IMAP4rev1 (RFC 3501) and its extensions: values, commands, responses, and an engine for each side."""
