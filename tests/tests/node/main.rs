//! One node on real sockets with real clients, one module per behaviour.
//!
//! All are one program, so that it is linked once and tests that wait leave the cores to others.

mod acme;
mod admin;
mod admin_page;
mod admin_ui;
mod answers;
mod api;
mod avalanche;
mod backup;
mod bad_input;
mod clients;
mod deploy;
mod docs;
mod doctor;
mod drain;
mod emit_api;
mod engine_io;
mod first_request;
mod flood;
mod handler;
mod kit;
mod limits;
mod logout;
mod metrics;
mod mongo;
mod origins;
mod page;
mod readme;
mod recovery;
mod reload;
mod restart;
mod sessions;
mod slow_reader;
mod soak;
mod soak_clients;
mod socket_io;
mod startup;
mod systemd;
mod tls;
mod trading;
mod units;
