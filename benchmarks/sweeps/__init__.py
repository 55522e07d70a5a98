"""`laser sweep`: schemes over energy budgets, gradients' spectra, messages' weights; presets and published curves."""
