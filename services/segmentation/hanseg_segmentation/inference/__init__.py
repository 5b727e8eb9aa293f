"""From volumes to a label map: preprocessing, the network's tiles, and back."""
