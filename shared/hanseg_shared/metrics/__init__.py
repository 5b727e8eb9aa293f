"""DSC and surface distances between two masks: one kernel and its readers."""
