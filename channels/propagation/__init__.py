"""How gains come about: laws of fading, time and frequency, geometry, paths, Sionna, ray tracing, measured traces."""
