"""Self-supervised video representation learning as one declarative, cached pipeline."""

__version__ = "0.1.0"
