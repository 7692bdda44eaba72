//! Addresses, and what HTTP is made of.

use std::net::SocketAddr;

use ipnet::IpNet;
use toml::Value;

use super::super::defaults::host_name;
use super::super::source::Raw;
use super::super::{Origin, Transports};
use super::{Kind, OrDefault as _, Refusal, each, not, show_list, show_text, visible};

pub(in crate::config) const HOST_NAME: Kind<String> = Kind {
    allowed: "1 to 255 visible characters, or \"\" for the machine's host name",
    read: |raw| match raw.text() {
        Some("") => Ok(host_name()),
        _ => visible(raw).ok_or_default(),
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const DOMAINS: Kind<Vec<String>> = Kind {
    allowed: "a list of host names such as [\"live.example.com\"], without wildcards",
    read: |raw| {
        each(raw, |text| {
            Some(text.to_ascii_lowercase())
                .filter(|name| is_domain(name))
                .ok_or_else(|| not(text, "a host name"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const CONTACT: Kind<Vec<String>> = Kind {
    allowed: "a list of mail addresses such as [\"ops@example.com\"]",
    read: |raw| {
        each(raw, |text| {
            let legal = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
            let parts = text.split_once('@').filter(|(user, _)| !user.is_empty());
            parts
                .filter(|(_, host)| is_domain(&host.to_ascii_lowercase()) && legal(text))
                .map(|_| text.to_owned())
                .ok_or_else(|| not(text, "a mail address"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const HTTPS_URL: Kind<String> = Kind {
    allowed: "a URL that begins with https://",
    read: |raw| {
        let is_legal = |text: &String| {
            let uri: Option<hyper::Uri> = text.parse().ok();
            uri.is_some_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some())
        };
        visible(raw).filter(is_legal).ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const URL_PATH: Kind<String> = Kind {
    allowed: "a path that starts and ends with /, such as \"/socket.io/\", but is not / itself",
    read: |raw| {
        visible(raw)
            .filter(|path| is_url_path(path))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const COOKIE: Kind<String> = Kind {
    allowed: "a cookie's name: letters, digits and any of !#$%&'*+-.^_`|~",
    read: |raw| {
        visible(raw)
            .filter(|name| name.bytes().all(is_token))
            .ok_or_default()
    },
    show: |value| Value::String(value.clone()),
};

pub(in crate::config) const ADDRESS: Kind<SocketAddr> = Kind {
    allowed: "an IP address and a port, such as \"127.0.0.1:8081\" or \"[::]:8080\"",
    read: |raw| {
        raw.text()
            .and_then(|text| text.parse().ok())
            .ok_or_default()
    },
    show: show_text,
};

pub(in crate::config) const OPTIONAL_ADDRESS: Kind<Option<SocketAddr>> = Kind {
    allowed: "an IP address and a port, such as \"10.0.0.1:7946\", or \"\" for none",
    read: |raw| match raw.text() {
        Some("") => Ok(None),
        Some(text) => text.parse().map(Some).ok().ok_or_default(),
        None => Err(Refusal(None)),
    },
    show: |value| Value::String(value.map(|at| at.to_string()).unwrap_or_default()),
};

pub(in crate::config) const SEEDS: Kind<Vec<String>> = Kind {
    allowed: "a list of hosts and ports such as [\"10.0.0.1:7946\", \"gw-2.internal:7946\"]",
    read: |raw| {
        each(raw, |text| {
            let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            port.and_then(|(_, port)| port.parse::<u16>().ok())
                .map(|_| text.to_owned())
                .ok_or_else(|| not(text, "a host and a port"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const ORIGINS: Kind<Vec<Origin>> = Kind {
    allowed: "a list of origins such as [\"https://app.example\"], or [\"*\"] for all",
    read: |raw| {
        each(raw, |text| {
            Origin::parse(text).ok_or_else(|| not(text, "an origin"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const NETWORKS: Kind<Vec<IpNet>> = Kind {
    allowed: "a list of addresses or networks such as [\"10.0.0.0/8\", \"::1\"]",
    read: |raw| {
        each(raw, |text| {
            network(text).ok_or_else(|| not(text, "an address"))
        })
    },
    show: |value| show_list(value),
};

pub(in crate::config) const TRANSPORTS: Kind<Transports> = Kind {
    allowed: "a list of \"polling\" and \"websocket\", with at least one of them",
    read: transports,
    show: |value| {
        let names = [(value.polling, "polling"), (value.websocket, "websocket")];
        Value::Array(
            names
                .into_iter()
                .filter(|n| n.0)
                .map(|n| Value::from(n.1))
                .collect(),
        )
    },
};

fn is_url_path(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && path.ends_with('/')
        && !path.contains("//")
        && !path.contains(['?', '#', '%', '"', '\\'])
}

/// A name in DNS (RFC 1123, 2.1), in lower case.
fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<std::net::IpAddr>().is_err()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn network(text: &str) -> Option<IpNet> {
    let network: Option<IpNet> = text.parse().ok();
    network
        .map(|network| network.trunc())
        .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

fn transports(raw: Raw<'_>) -> Result<Transports, Refusal> {
    let mut found = Transports {
        polling: false,
        websocket: false,
    };
    for name in raw.list().ok_or_default()? {
        match &*name {
            "polling" => found.polling = true,
            "websocket" => found.websocket = true,
            other => return Err(Refusal(Some(not(other, "a transport")))),
        }
    }
    Some(found)
        .filter(|found| found.polling || found.websocket)
        .ok_or_default()
}
