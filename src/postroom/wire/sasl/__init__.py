"""SASL mechanisms (RFC 4422), a file each with both sides; see ``api`` for the shape and ``registry`` for the list."""
