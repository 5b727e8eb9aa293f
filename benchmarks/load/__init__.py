"""What the service takes: many clients, large uploads, silent connections."""
