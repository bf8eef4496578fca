"""What every program needs: exit codes, one-line errors, output, settings from files and flags."""
