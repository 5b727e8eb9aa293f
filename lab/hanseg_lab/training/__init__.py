"""How models are made: samples, augmentation, loss and the loop."""
