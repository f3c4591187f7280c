"""The run folder: its configuration, results, histograms and server log, written and read back."""
