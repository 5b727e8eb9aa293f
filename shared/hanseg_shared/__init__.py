"""What both services decide alike: grids, volumes, organs, jobs, their store."""
