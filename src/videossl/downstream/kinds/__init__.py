"""Kinds of labels, one file each: what an example of the kind is."""
