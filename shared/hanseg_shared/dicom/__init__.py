"""DICOM objects out: structure sets, segmentations, registrations, images, pages.

Each module writes one kind of object; `gate` reads every one back and compares it
with what it should say.
"""
