//! Files of a page that are built into the program.

/// Where a file is served, what it is, and its text.
pub(crate) type File = (&'static str, &'static str, &'static str);

pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(crate) const SVG: &str = "image/svg+xml";

/// [`File`]s of the folder `page` beside the caller: path, kind and name of each.
macro_rules! files {
    ($($path:literal => $kind:expr, $file:literal;)*) => {
        &[$(($path, $kind, include_str!(concat!("page/", $file)))),*]
    };
}

pub(crate) use files;

/// The file that is served at a path.
pub(crate) fn find(files: &[File], path: &str) -> Option<File> {
    files.iter().find(|(known, ..)| *known == path).copied()
}
