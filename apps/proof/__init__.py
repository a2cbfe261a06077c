"""Proofs that run against the simulator: may import everything, nothing imports it."""
