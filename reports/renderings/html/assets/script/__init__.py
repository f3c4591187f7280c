"""The script of the HTML report, one file a chart; page.py joins the files in order."""
