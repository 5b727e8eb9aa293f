"""Our inference beside the real nnU-Net's and MONAI's: speed, memory, equal labels."""
