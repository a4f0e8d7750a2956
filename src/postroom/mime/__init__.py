"""Messages as octets: scanning, reading and writing MIME.

Pure functions and one streaming machine, nothing but the standard library; every step iterative, bounded and linear in
its input. Nothing here knows a store, a protocol's state, a clock or a socket.
"""
