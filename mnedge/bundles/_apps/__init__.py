"""What apps, boards and firmwares do with the models of a task; one task = one file, named as the task."""
