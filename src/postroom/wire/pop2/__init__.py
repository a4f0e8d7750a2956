"""POP2 (RFC 937): commands, replies and the server's engine. Historic, and served only where a listener asks for it."""
