"""A study: its parameters, its stages, and how they are run and kept."""
