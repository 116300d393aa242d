"""Kernel events of watched trees."""
