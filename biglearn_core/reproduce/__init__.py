"""The notebooks executed headless, and their outcomes beside the published ones."""
