//! The package on a whole machine: installed, run by a real systemd, upgraded, removed. Long, and in
//! need of root, so all of it is left to `tests/run --long`, which builds the packages first.

mod deployment;
mod package;
mod service;
mod site;
mod thousand;
