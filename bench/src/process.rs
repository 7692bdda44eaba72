//! What the kernel says of a process: CPU time and resident memory.

use std::{fs, io, time::Duration};

use serde::Serialize;
use thiserror::Error;

/// A process could not be looked at; it has most likely ended.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// `/proc` has no such file, or it may not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file that was asked for.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file lacks the field, so this is not the Linux that was expected.
    #[error("{path} has no {field}")]
    Field {
        /// The file that was read.
        path: String,
        /// The field that was looked for.
        field: &'static str,
    },
}

/// CPU time of all threads of a process, ended ones too, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time in its own code.
    pub user: Duration,
    /// Time in the kernel on its behalf.
    pub system: Duration,
}

impl Usage {
    /// Reads the CPU time of `pid`, in clock ticks of usually 10 ms.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        let path = format!("/proc/{pid}/stat");
        let text = read(&path)?;
        usage(&text).ok_or(ProcessError::Field {
            path,
            field: "utime and stime",
        })
    }

    /// User and kernel time together.
    pub fn total(self) -> Duration {
        self.user + self.system
    }

    /// This and what another process used.
    pub fn and(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }

    /// What was used since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// Where a process's resident memory is, in KiB (`proc_pid_smaps_rollup(5)`).
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub rss_kib: u64,
    /// The part that is backed by no file: heap and stacks.
    pub anonymous_kib: u64,
    /// The same, pages shared with other processes divided among them.
    pub pss_anon_kib: u64,
    /// The part that is backed by files: the program and its libraries, data files that are mapped.
    /// Pages shared with other processes are divided among them.
    pub pss_file_kib: u64,
}

impl Memory {
    /// Reads where the memory of `pid` is. The kernel walks all of it for that.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = read(&path)?;
        let kib = |field| {
            kib(&text, field).ok_or_else(|| ProcessError::Field {
                path: path.clone(),
                field,
            })
        };
        Ok(Self {
            rss_kib: kib("Rss")?,
            anonymous_kib: kib("Anonymous")?,
            pss_anon_kib: kib("Pss_Anon")?,
            pss_file_kib: kib("Pss_File")?,
        })
    }
}

/// Resident memory of `pid` in bytes (`VmRSS`).
pub fn resident(pid: u32) -> Result<u64, ProcessError> {
    status_kib(pid, "VmRSS").map(|kib| kib * 1024)
}

/// The most memory that `pid` ever had resident, in bytes (`VmHWM`).
pub fn resident_peak(pid: u32) -> Result<u64, ProcessError> {
    status_kib(pid, "VmHWM").map(|kib| kib * 1024)
}

fn status_kib(pid: u32, field: &'static str) -> Result<u64, ProcessError> {
    let path = format!("/proc/{pid}/status");
    let text = read(&path)?;
    kib(&text, field).ok_or(ProcessError::Field { path, field })
}

/// The value of a line such as `VmRSS:     1024 kB`.
fn kib(text: &str, field: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// Fields 14 and 15 of `proc_pid_stat(5)`. The name in field 2 may hold spaces and brackets, so
/// counting starts behind its last bracket.
fn usage(stat: &str) -> Option<Usage> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut time = || fields.next()?.parse().ok().map(ticks);
    Some(Usage {
        user: time()?,
        system: time()?,
    })
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs(count)
        / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
}

fn read(path: &str) -> Result<String, ProcessError> {
    fs::read_to_string(path).map_err(|source| ProcessError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_skips_a_name_with_brackets() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 90 0 0 0 250 125 0 0 20 0 1 0 5 9 9";
        let expected = Usage {
            user: ticks(250),
            system: ticks(125),
        };
        assert_eq!(usage(stat), Some(expected));
        assert_eq!(expected.total(), ticks(375));
    }

    #[test]
    fn usage_refuses_a_short_line() {
        assert_eq!(usage("7 (a) S 1 7 7"), None);
    }

    #[test]
    fn fields_are_told_apart() {
        let text = "Pss:   5 kB\nPss_Anon:     12 kB\nPss_Dirty: none\n";
        assert_eq!(kib(text, "Pss_Anon"), Some(12));
        assert_eq!(kib(text, "Pss"), Some(5));
        assert_eq!(kib(text, "Pss_Dirty"), None);
        assert_eq!(kib(text, "Rss"), None);
    }

    #[test]
    fn own_process_is_seen() {
        let own = std::process::id();
        assert!(resident(own).unwrap() > 100 * 1024);
        assert!(resident_peak(own).unwrap() >= resident(own).unwrap() / 2);
        Usage::of(own).unwrap();
        let memory = Memory::of(own).unwrap();
        assert!(memory.anonymous_kib > 0 && memory.anonymous_kib < memory.rss_kib);
    }

    #[test]
    fn a_missing_process_is_named() {
        let error = resident(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("/proc/4294967295/status"), "{error}");
    }
}
