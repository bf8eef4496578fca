"""Exit codes, one-line errors, --json, settings from YAML, environment and flags."""
