"""Starts servers in turn, puts tidings-load on them, and reports medians side by side.

cli        arguments, build, and the order of things
servers    how each server under test is built, started and stopped
scenarios  what is run on each, and which figures and bars come of it
load       one run of tidings-load
report     medians, spread, ratios; Markdown and JSON lines
machine    what the figures were measured on
"""
