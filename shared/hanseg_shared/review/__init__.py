"""What people say of a job's results, and what they change in them."""
