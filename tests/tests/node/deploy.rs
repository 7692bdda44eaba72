//! `packaging/deploy` step by step, with stand-ins for `tidings` and `systemctl`; the tests of a
//! whole machine run it with the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

const SOUND: &str = "TIDINGS_API_KEY=0123456789abcdef\nSESSION_SECRET='fedcba 9876543210'\n";

/// A machine that the script finds itself on.
struct Machine {
    home: TempDir,
}

impl Machine {
    /// One on which a node with an environment of before runs well.
    fn new() -> Machine {
        let machine = Machine {
            home: tempfile::tempdir().expect("a temporary folder can be made"),
        };
        for folder in ["bin", "data/store", "backups"] {
            fs::create_dir_all(machine.path(folder)).expect("it can be made");
        }
        machine.file("config", "");
        machine.file("environment", "BEFORE=1\n");
        machine.file("calls", "");
        // Each call is noted; one that `fails` names fails.
        let noted = "#!/bin/sh\necho \"$(basename $0) $*\" >>\"$CALLS\"\n\
                     if grep -qxF \"$(basename $0) $1\" \"$FAILS\"; then echo broken; exit 1; fi\n";
        machine.program("tidings", noted);
        machine.program("systemctl", noted);
        // A user that is not there is nobody's business here.
        machine.program("runuser", "#!/bin/sh\nshift 3\nexec \"$@\"\n");
        machine
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
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut script = Command::new(root.join("packaging/deploy"));
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
            .arg(root.join("packaging/environment.example"))
            .args(["--timeout", "1"])
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("CALLS", self.path("calls"))
            .env("FAILS", self.path("fails"))
            .output()
            .expect("bash runs it");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().expect("it ends by itself");
        (code, printed + &String::from_utf8_lossy(&output.stderr))
    }

    /// The calls that do something, by program and first argument.
    fn calls(&self) -> Vec<String> {
        let brief = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let calls = self.read("calls");
        let calls = calls.lines().map(brief);
        calls.filter(|call| call != "systemctl is-active").collect()
    }
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
        assert_eq!(machine.read("environment"), "BEFORE=1\n");
    }
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
        assert_eq!(machine.read("environment"), "BEFORE=1\n");
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
    assert_eq!(machine.read("environment"), "BEFORE=1\n");
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
    let fails = ["systemctl is-active", "systemctl restart"];
    let (code, printed) = machine.deploy(SOUND, &fails);
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains("✓ backup: nothing is there yet"),
        "{printed}"
    );
    assert!(
        printed.contains("✓ the node is stopped, as before"),
        "{printed}"
    );
    assert!(!machine.path("environment").exists());
}

#[test]
fn it_says_so_when_not_even_the_earlier_node_runs() {
    let machine = Machine::new();
    let (code, printed) = machine.deploy(SOUND, &["systemctl restart"]);
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("✗ the node runs as before"), "{printed}");
    assert!(printed.contains("the backup is "), "{printed}");
    assert_eq!(machine.read("environment"), "BEFORE=1\n");
}
