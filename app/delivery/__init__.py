"""Everything that leaves the house: Slack messages and report files."""
