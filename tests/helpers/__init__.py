"""Helpers of the tests: statistics with derived bounds, options and messages, models and their shapes."""
