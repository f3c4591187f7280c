"""Two servers, or one server on two days: which differences are real."""
