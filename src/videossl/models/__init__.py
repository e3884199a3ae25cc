"""Video backbones and heads."""
