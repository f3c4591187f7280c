"""A serving site in virtual time: clients' link, gateway, workers that compute prompts before they decode."""
