"""Rebuilding a host from its history: small roots, a real Debian, kills, hostile stores."""
