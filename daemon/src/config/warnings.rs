//! What is allowed and yet deserves a warning.

use std::net::SocketAddr;

use super::{AdminUiMode, AuthMode, Class, Config, Origin};

impl Config {
    /// What is allowed and yet may surprise: for the log at start, and for `tidings check`.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let exposed = !is_loopback(self.listen.public);
        let mut warn = |holds: bool, text: &str| {
            if holds {
                warnings.push(text.to_owned());
            }
        };
        warn(
            exposed && self.auth.mode == AuthMode::None,
            "auth.mode is \"none\" and listen.public is reachable from other machines: anyone \
             can be any user",
        );
        warn(
            exposed && !self.speaks_tls() && self.http.trusted_proxies.is_empty(),
            "listen.public speaks plain HTTP to other machines: set [tls] or [acme], or put a proxy with \
             TLS in front and name it in http.trusted_proxies",
        );
        warn(
            !is_loopback(self.listen.private) && !self.private_uses_tls(),
            "listen.private is reachable from other machines without TLS: API keys travel in \
             the clear",
        );
        warn(
            self.http.origins.contains(&Origin::Any),
            "http.origins has \"*\": any web page can connect with its visitor's cookie",
        );
        warn(
            self.http
                .trusted_proxies
                .iter()
                .any(|network| network.prefix_len() == 0),
            "http.trusted_proxies trusts everyone: any client can claim any address",
        );
        warn(
            self.recovery.window.is_zero() && self.has_class(Class::Recoverable),
            "recovery.window is 0: recoverable channels keep nothing for clients that come back",
        );
        warn(
            self.admin_ui.enabled && self.admin_ui.mode == AdminUiMode::Development,
            "admin_ui.mode is \"development\": whoever logs in there sees what clients send and \
             are sent",
        );
        warnings
    }

    /// Whether the public listener speaks TLS.
    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some() || !self.acme.domains.is_empty()
    }

    /// Whether the private listener speaks TLS too: it does wherever others could listen in.
    pub fn private_uses_tls(&self) -> bool {
        self.speaks_tls() && !is_loopback(self.listen.private)
    }

    fn has_class(&self, class: Class) -> bool {
        self.channels.values().any(|channel| channel.class == class)
    }
}

pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn warns_of_what_others_could_use() {
        let quiet = || {
            let mut config = Config::default();
            config.listen.public = address("127.0.0.1:8080");
            config
        };
        let warned = |change: fn(&mut Config)| {
            let mut config = quiet();
            change(&mut config);
            config.warnings()
        };
        let tls = || Some(crate::config::Tls::default());

        assert_eq!(quiet().warnings(), [""; 0]);
        assert_eq!(warned(|c| c.auth.mode = AuthMode::None), [""; 0]);
        assert_eq!(warned(|c| c.listen.insecure_private = true), [""; 0]);
        for (change, part) in [
            (
                (|c| c.listen.public = address("0.0.0.0:8080")) as fn(&mut Config),
                "listen.public speaks plain HTTP",
            ),
            (
                |c| c.listen.private = address("10.0.0.1:8081"),
                "listen.private is reachable",
            ),
            (
                |c| c.http.origins = vec![Origin::Any],
                "http.origins has \"*\"",
            ),
            (
                |c| c.http.trusted_proxies = vec!["0.0.0.0/0".parse().unwrap()],
                "http.trusted_proxies trusts everyone",
            ),
            (
                |c| c.recovery.window = std::time::Duration::ZERO,
                "recovery.window is 0",
            ),
        ] {
            let warnings = warned(change);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].starts_with(part), "{warnings:?}");
        }

        let mut public = Config {
            tls: tls(),
            ..Config::default()
        };
        assert_eq!(public.warnings(), [""; 0]);
        public.auth.mode = AuthMode::None;
        assert!(public.warnings()[0].contains("anyone can be any user"));
    }

    #[test]
    fn the_private_listener_has_tls_where_others_could_listen_in() {
        let mut config = Config {
            tls: Some(crate::config::Tls::default()),
            ..Config::default()
        };
        assert!(!config.private_uses_tls());
        config.listen.private = address("10.0.0.1:8081");
        assert!(config.private_uses_tls());
        config.tls = None;
        assert!(!config.private_uses_tls());
    }
}
