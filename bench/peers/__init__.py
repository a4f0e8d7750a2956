"""The other servers, each configured as an administrator would who wants it to be fast and safe."""
