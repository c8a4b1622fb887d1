"""Calculators whose JavaScript does the computing."""
