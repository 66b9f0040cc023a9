"""Measurements that back a claim of the library; run by hand, not part of the wheel."""
