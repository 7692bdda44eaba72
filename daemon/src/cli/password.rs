//! Asking for a password without showing it.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

/// The longest line that can be a password; more is read only to be refused.
const LONGEST: u64 = 4096;

/// What Ctrl-C sends while it does not interrupt.
const INTERRUPT: u8 = 3;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub(super) enum PasswordError {
    /// It was empty, or nothing came.
    #[error("no password was given")]
    Missing,
    /// It was too long.
    #[error("a password has at most {LONGEST} bytes")]
    TooLong,
    /// It was not UTF-8.
    #[error("the password is not UTF-8 text")]
    NotText,
    /// Two different ones were typed.
    #[error("the two passwords differ")]
    Differ,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// There is nobody to ask.
    #[error("standard input is not a terminal: give the password there with --password-stdin")]
    NoTerminal,
    /// Reading failed.
    #[error("cannot read the password: {0}")]
    Io(#[from] io::Error),
}

/// Asks twice on the terminal, or reads the first line of standard input if `from_stdin`.
pub(super) fn read(from_stdin: bool) -> Result<String, PasswordError> {
    if from_stdin {
        return line(io::stdin().lock());
    }
    if !io::stdin().is_terminal() {
        return Err(PasswordError::NoTerminal);
    }
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let password = asked(&terminal, "Password: ")?;
    if asked(&terminal, "Again: ")? == password {
        Ok(password)
    } else {
        Err(PasswordError::Differ)
    }
}

fn asked(mut terminal: &File, prompt: &str) -> Result<String, PasswordError> {
    let _silence = Silence::on(terminal)?;
    terminal.write_all(prompt.as_bytes())?;
    let answer = line(io::BufReader::new(terminal));
    terminal.write_all(b"\n")?;
    answer
}

/// One line, without its end.
fn line(input: impl BufRead) -> Result<String, PasswordError> {
    let mut bytes = Vec::new();
    let mut input = input.take(LONGEST + 3);
    // Ctrl-C ends a line where it does not interrupt.
    loop {
        let mut byte = [0];
        if input.read(&mut byte)? == 0 || byte[0] == b'\n' {
            break;
        }
        if byte[0] == INTERRUPT {
            return Err(PasswordError::Interrupted);
        }
        bytes.push(byte[0]);
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    match bytes.len() as u64 {
        0 => Err(PasswordError::Missing),
        length if length > LONGEST => Err(PasswordError::TooLong),
        _ => String::from_utf8(bytes).map_err(|_| PasswordError::NotText),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
///
/// Ctrl-C must not end the program meanwhile, or the shell would be left silent: it ends the line
/// instead, which is then taken as an interruption.
struct Silence<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Silence<'t> {
    fn on(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal.as_fd())?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal.as_fd(), OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to be put back.
        let _ = tcsetattr(self.terminal.as_fd(), OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line() {
        for (input, password) in [
            ("secret\nmore\n", "secret"),
            ("secret", "secret"),
            ("secret\r\n", "secret"),
            (" spaces stay \n", " spaces stay "),
            ("påsswörd\n", "påsswörd"),
        ] {
            assert_eq!(line(input.as_bytes()).unwrap(), password);
        }
        assert_eq!(line("x".repeat(4096).as_bytes()).unwrap().len(), 4096);
    }

    #[test]
    fn says_why_there_is_none() {
        assert!(matches!(line(&b"\n"[..]), Err(PasswordError::Missing)));
        assert!(matches!(line(&b""[..]), Err(PasswordError::Missing)));
        assert!(matches!(line(&b"\xff\n"[..]), Err(PasswordError::NotText)));
        assert!(matches!(
            line(&b"ab\x03"[..]),
            Err(PasswordError::Interrupted)
        ));
        let long = "x".repeat(5000);
        assert!(matches!(line(long.as_bytes()), Err(PasswordError::TooLong)));
    }
}
