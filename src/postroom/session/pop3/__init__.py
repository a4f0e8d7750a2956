"""What POP3 commands mean (RFC 1939): a session, and a module for each family of commands."""

from postroom.session.pop3.session import Pop3Session

__all__ = ["Pop3Session"]
