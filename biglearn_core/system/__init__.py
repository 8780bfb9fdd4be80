"""The machine: files and folders, devices, what a person sees of progress."""
