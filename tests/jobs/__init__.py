"""Facts about jobs: their rows, their stages, what puts them right."""
