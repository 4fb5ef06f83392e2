"""The phases of a run, a file each. Every one takes the run and adds to its record."""
