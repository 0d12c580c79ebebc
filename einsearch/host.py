"""The name of this machine."""

import platform
import socket


def host_name() -> str:
    """As other machines on the network know it, where the system says so."""
    return platform.node() or socket.gethostname()
