"""What an encoder is good for: examples, fine-tuning, features, protocols, metrics."""
