//! `tidings generate`: manual pages and completions, made from the commands themselves so that they
//! cannot differ from them.

use std::{io, path::PathBuf};

use clap::CommandFactory;

use super::args::{Cli, Generate};

/// Why files are missing. Some may have been written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write manual pages into {}: {error}", folder.display())]
pub(super) struct GenerateError {
    folder: PathBuf,
    error: io::Error,
}

/// Does what is asked, and answers what to print.
pub(super) fn run(what: Generate) -> Result<String, GenerateError> {
    match what {
        Generate::Man { folder } => {
            let written = std::fs::create_dir_all(&folder)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), &folder));
            match written {
                Ok(()) => Ok(String::new()),
                Err(error) => Err(GenerateError { folder, error }),
            }
        }
        Generate::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidings", &mut text);
            Ok(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tidings`, `tidings-user`, `tidings-user-add`…
    fn pages(command: &clap::Command, name: &str, pages: &mut Vec<(String, String)>) {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        pages.push((format!("{name}.1"), about));
        for inner in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            pages_of(inner, name, pages);
        }
    }

    fn pages_of(inner: &clap::Command, outer: &str, all: &mut Vec<(String, String)>) {
        pages(inner, &format!("{outer}-{}", inner.get_name()), all);
    }

    #[test]
    fn each_command_has_a_page_that_says_what_it_does() {
        let folder = tempfile::tempdir().unwrap();
        run(Generate::Man {
            folder: folder.path().join("man"),
        })
        .unwrap();
        let mut wanted = Vec::new();
        pages(&Cli::command(), "tidings", &mut wanted);
        assert!(wanted.len() > 15, "{wanted:?}");
        for (page, about) in wanted {
            let text = std::fs::read_to_string(folder.path().join("man").join(&page));
            let text = text.unwrap_or_else(|error| panic!("{page}: {error}"));
            let first = about.split(['-', '\'', ',']).next().unwrap().trim();
            assert!(text.contains(first), "{page} does not say {about:?}");
        }
    }

    #[test]
    fn completions_name_the_commands() {
        for shell in [
            clap_complete::Shell::Bash,
            clap_complete::Shell::Zsh,
            clap_complete::Shell::Fish,
        ] {
            let text = run(Generate::Completions { shell }).unwrap();
            for name in ["serve", "reload", "session", "--config"] {
                let name = name.trim_start_matches('-');
                assert!(text.contains(name), "{shell} lacks {name}");
            }
        }
    }
}
