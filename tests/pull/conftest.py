"""The servers of these tests: as for those of the server itself."""

from tests.server.conftest import own, server

__all__ = ["own", "server"]
