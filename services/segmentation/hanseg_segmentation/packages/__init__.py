"""Model packages: weights with the plan that says how to run them."""
