"""Benchmarks: ``make bench`` runs them against a server of their own on loopback."""
