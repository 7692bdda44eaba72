//! The certificate that clients are shown, for people and for Prometheus.

use serde_json::{Value, json};

use super::status::Exposition;
use crate::{
    acme::{Acme, Standing},
    app::accounts::rfc3339,
    http::tls::Lifetime,
    node::Node,
};

/// The certificate, and how the next one comes; null if the node speaks no TLS.
pub(super) fn view(node: &Node) -> Value {
    let Some(tls) = &node.tls else {
        return Value::Null;
    };
    let lifetime = tls.now().lifetime;
    let (shown, failed) = node.certificate.counts();
    json!({
        "starts": lifetime.and_then(|it| time(it.from)),
        "expires": lifetime.and_then(|it| time(it.until)),
        "shown": shown,
        "failed": failed,
        "acme": node.acme.as_ref().map(acme_view),
    })
}

fn acme_view(acme: &Acme) -> Value {
    let view = acme.view();
    let status = match view.standing {
        Standing::Ok => "ok",
        Standing::Failing => "failing",
    };
    json!({
        "status": status,
        "domains": view.domains,
        "directory": view.directory,
        "failures": view.failures,
        "message": view.message,
        "next": time(view.next),
    })
}

/// Unix seconds; 0 is none.
fn time(seconds: i64) -> Option<String> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Some(rfc3339(seconds.saturating_mul(1000)))
}

/// The figures of a node that speaks TLS.
pub(super) fn expose(node: &Node, text: &mut Exposition) {
    let Some(tls) = &node.tls else { return };
    let (shown, failed) = node.certificate.counts();
    let times = match tls.now().lifetime {
        Some(Lifetime { from, until }) => Some((from, until)),
        // None is shown yet.
        None if node.acme.is_some() => Some((0, 0)),
        // What cannot be read of one that is shown is left out.
        None => None,
    };
    if let Some((from, until)) = times {
        let name = "tls_certificate_starts_seconds";
        let help = "When the certificate that is shown begins, unix time.";
        text.single(name, "gauge", help, from);
        let name = "tls_certificate_expires_seconds";
        let help = "When the certificate that is shown ends, unix time.";
        text.single(name, "gauge", help, until);
    }
    let help = "Certificates shown since the start, the first included.";
    text.single("tls_certificates_total", "counter", help, shown);
    let name = "tls_certificates_failed_total";
    let help = "Renewed certificates that cannot be used.";
    text.single(name, "counter", help, failed);
    let name = "tls_files_unusable";
    let help = "1 while the certificate's files cannot be used and the one before is shown.";
    let unusable = u8::from(node.certificate.is_unusable());
    text.single(name, "gauge", help, unusable);
    let Some(acme) = &node.acme else { return };
    let view = acme.view();
    let name = "acme_attempts_total";
    let help = "Attempts to get a certificate from the CA, by what became of them.";
    text.family(name, "counter", help);
    text.sample(name, "{outcome=\"issued\"}", view.issued);
    text.sample(name, "{outcome=\"failed\"}", view.failed);
    let help = "Attempts that have failed in a row.";
    text.single("acme_failures", "gauge", help, view.failures);
    let help = "When the CA is asked next, unix time.";
    text.single("acme_next_attempt_seconds", "gauge", help, view.next);
}
