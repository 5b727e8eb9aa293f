"""The page that people work with: where its built files are, and how they are sent."""
