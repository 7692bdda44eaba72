"""Starts servers in turn, puts tidings-load on them, and reports medians side by side.

cli       arguments, and the order of things
suites    what is measured: scenarios, and what Tidings promises of them
session   runs a scenario: every round fresh processes, another server first
servers   how each server under test is built, started and stopped
runners   how each kind of load is put on a server
load      one run of tidings-load
model     figure, bar, entry, scenario
figures   what reports of tidings-load hold
result    medians, spread, ratios, verdicts
report    Markdown, JSON lines
picture   the SVG; svg has its shapes and scales
supplies  certificates and sessions for the servers
install   builds and packages, pinned
machine   what the figures were measured on
"""
