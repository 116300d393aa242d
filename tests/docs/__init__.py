"""Tests that keep the documentation true: what it names exists, what it shows is what happens."""
