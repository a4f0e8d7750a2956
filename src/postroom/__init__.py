"""postroom: a complete mail system. SMTP, submission and LMTP in, a durable store, POP3 and IMAP out."""

from typing import Final

__version__: Final = "0.1.0"
