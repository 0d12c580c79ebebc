"""The server of the pages."""

from __future__ import annotations

import errno
import socket
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from einsearch.errors import EinsearchError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

DEFAULT_PORT = 8080


class PageServer(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread of its own, which no unfinished answer keeps from ending."""

    daemon_threads = True
    block_on_close = False

    @property
    def address(self) -> str:
        """What a person opens; a server on all addresses is reached by this one."""
        host, port = self.server_address[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(host), str(host))
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _SixServer(PageServer):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of every request."""


def listen(host: str, port: int | None, application: WSGIApplication) -> PageServer:
    """A server that listens but does not answer yet.

    port: None takes DEFAULT_PORT or, where that is in use, a free one.
    Raises EinsearchError where it cannot listen there.
    """
    kind = _SixServer if ":" in host else PageServer
    try:
        try:
            server = kind((host, port or DEFAULT_PORT), _Quiet)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                raise
            server = kind((host, 0), _Quiet)
    except OSError as error:
        raise EinsearchError(_why(host, port or DEFAULT_PORT, error)) from error
    server.set_app(application)
    return server


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; give another --port, or none to take a free one"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user; give a --port of 1024 or more"
    return f"cannot listen on {host}: {error.strerror or error}; give an address of this machine as --host"
