//! What every process does at start: arguments, daemonizing, pid file, logs, signals.
