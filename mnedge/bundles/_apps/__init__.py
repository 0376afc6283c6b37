"""Templates of the apps, programs and sketches of each task; one task = one file, named as the task."""
