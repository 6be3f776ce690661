"""YAML config → resolved images → root filesystem → output → machine."""

__version__ = "0.1.0"
