"""Shipped fakes at real seams, for the tests of every component: host, clock, sink, settings."""
