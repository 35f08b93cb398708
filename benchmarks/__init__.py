"""Measurements. Each prints ratios taken in one run, and asserts nothing about time."""
