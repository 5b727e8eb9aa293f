"""The challenge in miniature: methods learn, compete and are ranked on simulated cases.

Everything is done by the product's own commands; see `stages` for their order.
"""
