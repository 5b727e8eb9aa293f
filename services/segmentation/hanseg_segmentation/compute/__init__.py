"""Fast arithmetic for the CPU; knows nothing of images, organs or jobs."""
