"""Archives of mail as files: mbox, Maildir, folders of .eml.

Invariants: readers and writers know nothing of accounts or the store; one message is in memory at a time; what a writer
wrote its reader gives back octet for octet, with date, flags and keywords (the limits of each format are told in its
module). Lines of archives that end in LF alone become CRLF lines, as mail has them (RFC 5322 §2.1).
"""
