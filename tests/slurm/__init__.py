"""The programs on a real Slurm of one machine."""
