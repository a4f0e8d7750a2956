"""POP3 (RFC 1939) with CAPA, SASL and TLS (RFC 2449, RFC 5034, RFC 2595): grammar, commands, both engines."""
