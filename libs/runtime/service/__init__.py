"""What every service is made of, whatever it does: settings, logs, health, signals, exit code."""
