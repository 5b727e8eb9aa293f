"""What is on the pages of a review: the words, the paper, the planes, the table."""
