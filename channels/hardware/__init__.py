"""What hardware and neighbours do to samples: amplifiers, oscillators, converters, interference."""
