"""Faults at every point: crashes, power loss, broken disks, broken networks, and all of them at random."""
