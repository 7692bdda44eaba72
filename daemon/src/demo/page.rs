//! The files of the demo page, built into the program.

use crate::http::built_in::{CSS, File, HTML, SCRIPT, SVG, files, find};

/// What the page may load and do: its own files and its own server, nothing else.
///
/// `'self'` covers the WebSocket of the same host too (CSP 3).
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'; object-src 'none'; \
    require-trusted-types-for 'script'";

const FILES: &[File] = files! {
    "/" => HTML, "index.html";
    "/style.css" => CSS, "style.css";
    "/icon.svg" => SVG, "icon.svg";
    "/app.js" => SCRIPT, "app.js";
    "/dashboard.js" => SCRIPT, "dashboard.js";
    "/engine.js" => SCRIPT, "engine.js";
    "/tidings-client.js" => SCRIPT, "tidings-client.js";
    "/format.js" => SCRIPT, "format.js";
    "/portfolio.js" => SCRIPT, "portfolio.js";
    "/sparkline.js" => SCRIPT, "sparkline.js";
    "/trades.js" => SCRIPT, "trades.js";
    "/watchlist.js" => SCRIPT, "watchlist.js";
};

/// The content type and body of a file of the page, by the path of its URL.
#[must_use]
pub fn asset(path: &str) -> Option<(&'static str, &'static [u8])> {
    let (_, kind, body) = find(FILES, path)?;
    Some((kind, body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::market::Market;

    fn text(path: &str) -> &'static str {
        let (_, body) = asset(path).unwrap_or_else(|| panic!("{path} is not served"));
        std::str::from_utf8(body).unwrap()
    }

    /// Every `attribute="/path"` or `from '/path'` of a text.
    fn references<'t>(text: &'t str, before: &str, end: char) -> Vec<&'t str> {
        let parts = text.split(before).skip(1);
        parts.map(|part| part.split(end).next().unwrap()).collect()
    }

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let html = text("/");
        let mut named = references(html, "src=\"", '"');
        named.extend(
            references(html, "href=\"", '"')
                .into_iter()
                .filter(|r| *r != "#main"),
        );
        assert!(named.len() >= 3, "{named:?}");
        for path in named {
            assert!(asset(path).is_some(), "{path} is named by the page");
        }
        for (path, ..) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for module in references(text(path), "from './", '\'') {
                assert!(
                    asset(&format!("/{module}")).is_some(),
                    "{module} is named by {path}"
                );
            }
        }
    }

    #[test]
    fn the_page_needs_no_exception_from_its_policy() {
        let html = text("/");
        for forbidden in [
            "style=", "onclick=", "<style", "http://", "https://", "<script>",
        ] {
            assert!(!html.contains(forbidden), "{forbidden} in the page");
        }
        for (path, ..) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
            ] {
                assert!(!text(path).contains(forbidden), "{forbidden} in {path}");
            }
        }
    }

    #[test]
    fn the_page_suggests_exactly_the_symbols_of_the_market() {
        let suggested = references(text("/"), "<option value=\"", '"');
        assert_eq!(suggested, Market::symbols().collect::<Vec<_>>());
    }

    #[test]
    fn unknown_paths_are_nothing() {
        for path in ["", "/index.html", "/../Cargo.toml", "/app.js/", "//"] {
            assert!(asset(path).is_none(), "{path}");
        }
    }
}
