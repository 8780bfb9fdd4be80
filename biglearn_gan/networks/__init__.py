"""Generators and discriminators: of vectors, and of images in patches."""
