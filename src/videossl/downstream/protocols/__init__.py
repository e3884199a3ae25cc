"""Downstream protocols, one file each."""
