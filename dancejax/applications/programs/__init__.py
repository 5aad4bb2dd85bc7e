"""Applications whose parts can be made apart: each in a folder and by a process of its own."""
