"""The script of the HTML report, in parts: page.py puts them together, in an order of its own."""
