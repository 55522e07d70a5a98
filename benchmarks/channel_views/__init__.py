"""Pictures of a channel without a model: gains, correlation, spectrogram, and what `laser channel` prints and writes."""
