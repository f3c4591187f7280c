"""A comparison on the console, in Markdown and in the HTML report."""
