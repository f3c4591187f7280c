"""Loading models and tokenizers: where they come from, whether the engine can run them, and the built-in ones."""
