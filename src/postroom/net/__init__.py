"""Where octets move: the only layer that knows asyncio, sockets and ssl."""
