"""Protocol engines: octets to typed messages and back, with the protocol's state. Standard library only, no I/O, no clock."""
