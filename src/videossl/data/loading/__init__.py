"""Clips of stored videos: sampling, reading, augmentation."""
