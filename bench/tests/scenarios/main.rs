//! The generator against a small server that can be told to fail: what it reports must be so.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail by panic, as it does"
)]

mod connect;
mod fake;
mod fanout;
mod idle;
mod quotes;
mod tls;
mod users;
mod wire;

use std::{net::SocketAddr, time::Duration};

use tidings_bench::{
    client::{Expect, Plan, Transport},
    fleet::FleetConfig,
    http::Framing,
    scenario::{EmitConfig, Subject},
};

const CLIENTS: usize = 20;

/// The generator's view of the server, whose process is this one.
fn subject(target: SocketAddr, expect: Expect) -> Subject {
    let plan = Plan {
        host: target.to_string(),
        path: "/live/".into(),
        auth: Some(r#"{"userId":"u{n}"}"#.parse().unwrap()),
        subscribe: Some(r#"["subscribe:bench",{"symbols":{symbols}}]"#.parse().unwrap()),
        expect,
        transport: Transport::WebSocket,
    };
    Subject {
        pid: std::process::id(),
        beside: Vec::new(),
        fleet: FleetConfig {
            target,
            clients: CLIENTS,
            first: 0,
            // One after the other, so that the fault's client is the first one.
            concurrency: 1,
            sources: 5,
            deadline: Duration::from_secs(10),
            grace: Duration::from_millis(500),
            tls: None,
            plan,
        },
    }
}

fn emit(target: SocketAddr, framing: Framing) -> EmitConfig {
    let path = match framing {
        Framing::Requests => "emit",
        Framing::Stream => "stream",
    };
    EmitConfig {
        url: format!("http://{target}/{path}").parse().unwrap(),
        headers: vec!["X-Key: k".into()],
        framing,
    }
}
