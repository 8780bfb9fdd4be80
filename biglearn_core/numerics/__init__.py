"""Densities of mixtures and their moments, in forms that are exact and fast."""
