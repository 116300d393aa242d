"""What people type: one file a verb, each of which parses, calls one operation and prints what it returns."""
