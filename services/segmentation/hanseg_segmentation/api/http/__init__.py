"""What every route needs of HTTP: headers, bodies, links, problems, schemas."""
