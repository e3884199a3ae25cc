"""Optical flow of stored videos."""
