"""Checks that name the likely bug, and the gate that tests the checks."""
