"""Receiving a push: the real program, fed a parcel."""
