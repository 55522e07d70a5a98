"""Uplinks that do not add up in the air: digital orthogonal access, its quantisers and links, and votes by FSK."""
