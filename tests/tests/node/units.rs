//! The files for systemd, as far as they can be judged without one that runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tidings::config::Config;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../systemd")
        .join(name)
}

/// The last value of each setting of a unit.
fn unit(name: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file(name)).expect("it is there");
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs = pairs.filter(|(name, _)| !name.starts_with('#'));
    pairs
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

#[test]
fn the_service_exposes_little() {
    let mut analyze = Command::new("systemd-analyze");
    // In tenths: 1.5.
    analyze.args(["security", "--offline=yes", "--threshold=15", "--no-pager"]);
    let output = analyze.arg(file("tidings.service")).output();
    let output = output.expect("systemd-analyze runs: `tests/run --setup` installs it");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_drain_ends_before_systemd_ends_it() {
    let seconds: u64 = unit("tidings.service")["TimeoutStopSec"]
        .parse()
        .expect("seconds");
    let drain = Config::load(None, []).expect("defaults are legal").drain;
    assert!(Duration::from_secs(seconds) >= drain.deadline + Duration::from_secs(10));
}

#[test]
fn the_service_is_tried_again_for_ever_but_not_with_wrong_settings() {
    let service = unit("tidings.service");
    assert_eq!(service["StartLimitIntervalSec"], "0");
    assert_eq!(service["Restart"], "on-failure");
    let pause: u64 = service["RestartSec"].parse().expect("seconds");
    assert!((2..=30).contains(&pause), "its clients wait for it");
    assert_eq!(service["RestartPreventExitStatus"], "64");
}

#[test]
fn the_service_sees_which_boot_it_is_in() {
    // The store reads /proc/sys to tell a crash of the process from one of the machine.
    assert!(!unit("tidings.service").contains_key("ProcSubset"));
}
