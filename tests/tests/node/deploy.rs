//! `packaging/deploy` step by step, with stand-ins for `tidings`, `systemctl` and `systemd-run`; the
//! tests of a whole machine run it with the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

const SOUND: &str = "TIDINGS_API_KEY=0123456789abcdef\nSESSION_SECRET='fedcba 9876543210'\n";

/// A machine that the script finds itself on.
struct Machine {
    home: TempDir,
}

/// Reads the file as systemd would, as far as the tests go, and hands over what is in `credstore`.
const SYSTEMD_RUN: &str = r#"#!/usr/bin/env bash
echo "systemd-run ${*//$'\n'/ }" >>"$CALLS"
home=$(dirname "$CALLS")
export CREDENTIALS_DIRECTORY="$home/credentials"
mkdir -p "$CREDENTIALS_DIRECTORY"
while :; do
    value=${1#--*=*=}
    case $1 in
        --property=EnvironmentFile=*) file=${value#-} ;;
        --property=LoadCredential=*)
            cp "$home/credstore/${value#*:}" "$CREDENTIALS_DIRECTORY/${value%%:*}" 2>/dev/null ;;
        --setenv=*) export "${1#--setenv=}" ;;
        --*) ;;
        *) break ;;
    esac
    shift
done
set -a
[ ! -f "$file" ] || . "$file"
exec "${@//\$\$/\$}"
"#;

/// Notes each call; one that `fails` names fails.
const NOTED: &str = r#"#!/bin/sh
echo "$(basename $0) $*" >>"$CALLS"
if grep -qxF "$(basename $0) $1" "$FAILS"; then echo broken; exit 1; fi
"#;

/// The same, with a unit that is as `state` says.
const SYSTEMCTL: &str = r#"
case $1 in
    show) cat "$(dirname "$CALLS")/state" ;;
    cat) cat "$UNIT" ;;
esac
"#;

impl Machine {
    /// One on which a node with an environment of before runs well.
    fn new() -> Machine {
        let machine = Machine {
            home: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        for folder in ["bin", "data/store", "backups", "credstore"] {
            fs::create_dir_all(machine.path(folder)).expect("it can be made");
        }
        machine.file("config", "");
        machine.file("environment", "BEFORE=1\n");
        machine.file("calls", "");
        machine.file("fails", "");
        machine.file("state", "active\n");
        machine.program("tidings", NOTED);
        machine.program("systemctl", &format!("{NOTED}{SYSTEMCTL}"));
        machine.program("systemd-run", SYSTEMD_RUN);
        machine
    }

    /// The next restart is the script's end: its process group, as of a terminal, gets a signal.
    fn interrupts_by(&self, signal: &str) {
        let once = format!(
            "case $1 in restart) grep -q BEFORE \"$(dirname \"$CALLS\")/environment\" \
             || kill -{signal} 0 ;; esac\n"
        );
        self.program("systemctl", &format!("{NOTED}{SYSTEMCTL}{once}"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("it can be written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn program(&self, name: &str, text: &str) {
        let path = format!("bin/{name}");
        self.file(&path, text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(&path), mode).expect("it is ours");
    }

    /// Deploys an environment while these calls fail; the exit code and what was printed.
    fn deploy(&self, env_file: &str, fails: &[&str]) -> (i32, String) {
        self.file("new", env_file);
        self.file("fails", &(fails.join("\n") + "\n"));
        // Whoever runs the tests may ignore signals, and a shell keeps to that.
        let mut script = Command::new("env");
        script.arg("--default-signal");
        script.arg(root().join("packaging/deploy"));
        self.run(script)
    }

    /// Runs the script with its arguments; -1 says that a signal ended it.
    fn run(&self, mut script: Command) -> (i32, String) {
        for (option, name) in [
            ("--env-file", "new"),
            ("--config", "config"),
            ("--environment", "environment"),
            ("--backups", "backups"),
            ("--data-dir", "data"),
        ] {
            script.arg(option).arg(self.path(name));
        }
        let path = std::env::var("PATH").expect("there is a PATH");
        let output = script
            .arg("--required")
            .arg(root().join("packaging/environment.example"))
            .args(["--timeout", "1"])
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("CALLS", self.path("calls"))
            .env("FAILS", self.path("fails"))
            .env("UNIT", root().join("systemd/tidings.service"))
            .process_group(0)
            .output()
            .expect("bash runs it");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().unwrap_or(-1);
        (code, printed + &String::from_utf8_lossy(&output.stderr))
    }

    /// The calls that do something, by program and first argument.
    fn calls(&self) -> Vec<String> {
        let brief = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let calls = self.read("calls");
        let calls = calls.lines().map(brief);
        let does = |call: &String| {
            let looks = ["systemctl show", "systemctl cat", "systemctl reset-failed"];
            !looks.contains(&call.as_str()) && !call.starts_with("systemd-run ")
        };
        calls.filter(does).collect()
    }

    /// Whether the environment is that of before, and nothing of a deployment is left.
    fn assert_as_before(&self) {
        assert_eq!(self.read("environment"), "BEFORE=1\n");
        assert!(!self.path("environment.before").exists());
        assert!(!self.path("environment.new").exists());
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn all_goes_well() {
    let machine = Machine::new();
    let (code, printed) = machine.deploy(SOUND, &[]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(printed.matches('✓').count(), 7, "{printed}");
    assert!(!printed.contains('✗'), "{printed}");
    let calls = [
        "tidings check",
        "tidings backup",
        "tidings migrate",
        "systemctl restart",
        "tidings health",
    ];
    assert_eq!(machine.calls(), calls);
    assert_eq!(machine.read("environment"), SOUND);
    let mode = fs::metadata(machine.path("environment")).expect("it is there");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600, "it holds secrets");
    assert!(!machine.path("environment.before").exists());
    assert!(!machine.path("environment.new").exists());
    // Arguments are for everybody to see.
    let calls = machine.read("calls");
    assert!(!calls.contains("0123456789abcdef"), "{calls}");
    assert!(!calls.contains("fedcba"), "{calls}");
}

#[test]
fn a_required_variable_that_is_missing_or_empty_stops_it_before_anything_is_done() {
    for (env_file, missing) in [
        ("SESSION_SECRET=0123456789abcdef\n", "TIDINGS_API_KEY"),
        (
            "TIDINGS_API_KEY=0123456789abcdef\nSESSION_SECRET=\n",
            "SESSION_SECRET",
        ),
        ("# TIDINGS_API_KEY=x\n", "TIDINGS_API_KEY SESSION_SECRET"),
        ("what is this\n", "line 1"),
    ] {
        let machine = Machine::new();
        let (code, printed) = machine.deploy(env_file, &[]);
        assert_eq!(code, 1, "{printed}");
        assert!(
            printed.contains('✗') && printed.contains(missing),
            "{printed}"
        );
        assert!(printed.contains("nothing was changed"), "{printed}");
        assert!(machine.calls().is_empty(), "{:?}", machine.calls());
        machine.assert_as_before();
    }
}

#[test]
fn a_variable_is_found_among_many() {
    let machine = Machine::new();
    // More than a pipe holds.
    let many = (0..300).map(|n| format!("APP_VARIABLE_{n}={}\n", "x".repeat(400)));
    let many = many.collect::<Vec<_>>().concat();
    let (code, printed) = machine.deploy(&(SOUND.to_owned() + &many), &[]);
    assert_eq!(code, 0, "{printed}");
}

#[test]
fn a_value_may_go_on_over_lines_and_lines_may_end_as_those_of_windows() {
    let machine = Machine::new();
    let odd =
        "# a comment \\\nthat goes on\nA=\"one\ntwo \\\" three\"\nB='four\nfive'\nC=six\\\nseven\n";
    let (code, printed) = machine.deploy(&(SOUND.to_owned() + odd), &["tidings check"]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("✓ "), "the file is understood: {printed}");
    let (_, printed) = machine.deploy(&SOUND.replace('\n', "\r\n"), &["tidings check"]);
    assert!(printed.contains("✓ "), "the file is understood: {printed}");
    let (code, printed) = machine.deploy(&(SOUND.to_owned() + "A=\"one\ntwo\n"), &[]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("line 3"), "{printed}");
}

#[test]
fn a_credential_counts_as_a_variable() {
    let machine = Machine::new();
    for name in ["tidings.auth.api_key", "tidings.auth.secrets"] {
        machine.file(&format!("credstore/{name}"), "0123456789abcdef\n");
    }
    let (code, printed) = machine.deploy("PORT=8080\n", &[]);
    assert_eq!(code, 0, "{printed}");
    assert!(!machine.read("calls").contains("0123456789abcdef"));
}

#[test]
fn a_folder_is_no_environment() {
    let machine = Machine::new();
    fs::create_dir(machine.path("new")).expect("it can be made");
    let (code, printed) = machine.run(Command::new(root().join("packaging/deploy")));
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("is a folder"), "{printed}");
    machine.assert_as_before();
}

#[test]
fn an_interruption_puts_back_what_was_there() {
    for signal in ["HUP", "INT", "TERM"] {
        let machine = Machine::new();
        machine.interrupts_by(signal);
        let (code, printed) = machine.deploy(SOUND, &[]);
        assert_eq!(code, 1, "{signal}: {printed}");
        assert!(
            printed.contains(&format!("✗ interrupted by SIG{signal}"))
                && printed.contains("✓ the node runs as before"),
            "{printed}"
        );
        machine.assert_as_before();
    }
}

#[test]
fn what_was_cut_off_is_neither_overwritten_nor_forgotten() {
    for before in ["BEFORE=1\n", ""] {
        let machine = Machine::new();
        if before.is_empty() {
            fs::remove_file(machine.path("environment")).expect("it is there");
        }
        machine.interrupts_by("KILL");
        assert_eq!(machine.deploy(SOUND, &[]).0, -1);
        assert_eq!(machine.read("environment"), SOUND);
        machine.file("calls", "");
        let (code, printed) = machine.deploy("TIDINGS_API_KEY=another\n", &[]);
        assert_eq!(code, 1, "{printed}");
        assert!(printed.contains("environment.before is there"), "{printed}");
        assert!(machine.calls().is_empty(), "{:?}", machine.calls());
        assert!(machine.path("environment.before").exists());
        assert_eq!(machine.read("environment.before"), before);
        assert_eq!(machine.read("environment"), SOUND);
    }
}

#[test]
fn of_two_at_once_the_second_is_refused() {
    let machine = Machine::new();
    machine.file("new", SOUND);
    let mut script = Command::new("flock");
    script.arg(machine.home.path());
    script.arg(root().join("packaging/deploy"));
    let (code, printed) = machine.run(script);
    assert_eq!(code, 75, "{printed}");
    assert!(
        printed.contains("another deployment is under way"),
        "{printed}"
    );
    machine.assert_as_before();
}

#[test]
fn a_node_that_is_being_started_is_put_back_and_not_stopped() {
    let machine = Machine::new();
    machine.file("state", "activating\n");
    let (_, printed) = machine.deploy(SOUND, &["systemctl restart"]);
    assert!(printed.contains("the node runs as before"), "{printed}");
    assert!(!machine.calls().contains(&"systemctl stop".to_owned()));
}

#[test]
fn a_node_that_failed_too_often_may_start_again() {
    let machine = Machine::new();
    machine.file("state", "failed\n");
    let (code, printed) = machine.deploy(SOUND, &[]);
    assert_eq!(code, 0, "{printed}");
    let calls = machine.read("calls");
    let place = |call| calls.find(call).unwrap_or_else(|| panic!("no {call}"));
    assert!(place("systemctl reset-failed") < place("systemctl restart"));
}

#[test]
fn an_environment_that_cannot_be_kept_is_not_replaced() {
    let machine = Machine::new();
    machine.program("ln", "#!/bin/sh\necho full >&2\nexit 1\n");
    let (code, printed) = machine.deploy(SOUND, &[]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("nothing was changed"), "{printed}");
    machine.assert_as_before();
}

#[test]
fn a_step_that_fails_before_the_change_changes_nothing() {
    for (fails, cross) in [
        ("tidings check", "✗ the settings are sound"),
        ("tidings backup", "✗ backup"),
        ("tidings migrate", "✗ migrations"),
    ] {
        let machine = Machine::new();
        let (code, printed) = machine.deploy(SOUND, &[fails]);
        assert_eq!(code, 1, "{printed}");
        assert!(
            printed.contains(cross) && printed.contains("broken"),
            "{printed}"
        );
        assert!(!machine.calls().contains(&"systemctl restart".to_owned()));
        machine.assert_as_before();
    }
}

#[test]
fn a_node_that_does_not_get_well_is_put_back() {
    let machine = Machine::new();
    // Well only with the environment of before.
    machine.program(
        "tidings",
        "#!/bin/sh\necho \"tidings $1\" >>\"$CALLS\"\n\
         [ \"$1\" != health ] || grep -q BEFORE \"$(dirname \"$CALLS\")/environment\"\n",
    );
    let (code, printed) = machine.deploy(SOUND, &[]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("✗ healthy within 1 s"), "{printed}");
    assert!(
        printed.contains("✓ the earlier environment is back"),
        "{printed}"
    );
    assert!(printed.contains("✓ the node runs as before"), "{printed}");
    machine.assert_as_before();
    let restarts = machine
        .calls()
        .iter()
        .filter(|it| *it == "systemctl restart")
        .count();
    assert_eq!(restarts, 2);
}

#[test]
fn a_first_deployment_has_nothing_to_back_up_and_leaves_nothing_behind_if_it_fails() {
    let machine = Machine::new();
    fs::remove_dir(machine.path("data/store")).expect("it is there");
    fs::remove_file(machine.path("environment")).expect("it is there");
    machine.file("state", "inactive\n");
    let (code, printed) = machine.deploy(SOUND, &["systemctl restart"]);
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains("✓ backup: nothing is there yet"),
        "{printed}"
    );
    assert!(
        printed.contains("✓ the node is stopped, as before"),
        "{printed}"
    );
    for left in ["environment", "environment.before", "environment.new"] {
        assert!(!machine.path(left).exists(), "{left}");
    }
}

#[test]
fn it_says_so_when_not_even_the_earlier_node_runs() {
    let machine = Machine::new();
    let (code, printed) = machine.deploy(SOUND, &["systemctl restart"]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("✗ the node runs as before"), "{printed}");
    assert!(printed.contains("the backup is "), "{printed}");
    machine.assert_as_before();
}
