"""Doctests are collected from the generator, not from what it generates."""

collect_ignore = ["generated"]
