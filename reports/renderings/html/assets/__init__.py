"""What every report has in it: the style, the script, and the chart library as it was published."""
