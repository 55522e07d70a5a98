"""Wireless-channel simulation for distributed learning: how much power does a scheme need over an uplink?"""

__version__ = "0.1.0"
