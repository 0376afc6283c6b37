"""report.json for people: terminal and HTML."""
