//! What `tidings demo` shows: a simulated market and the page that watches it.
//!
//! [`market`] and [`page`] touch neither socket nor clock; [`start`] feeds what the market returns
//! to the hub.

pub mod market;
pub mod page;

use std::{io::Write, net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, value::to_raw_value};

use self::market::{Market, MarketEvent};
use crate::{
    app::accounts::{AccountError, Accounts},
    event::{EmitRequest, Event},
    gateway::Gateway,
    node::now_ms,
};

/// The users of the demo and their passwords. They log in on this machine only.
const USERS: [(&str, &str); 2] = [("alice", "alice-demo"), ("bob", "bob-demo")];

/// Any will do; the same one gives the same market.
const SEED: u64 = 7;

/// How often the market moves.
const TICK: Duration = Duration::from_millis(100);

/// Makes the users and opens the market.
pub async fn start(gateway: &Gateway, accounts: &Accounts) -> Result<(), String> {
    for (name, password) in USERS {
        match accounts.add_user(name, password, now_ms()).await {
            Ok(_) | Err(AccountError::Conflict(_)) => {}
            Err(error) => return Err(format!("the demo's user {name} cannot be made: {error}")),
        }
    }
    let node = gateway.node().clone();
    gateway.spawn(async move {
        let names: Vec<&str> = USERS.iter().map(|(name, _)| *name).collect();
        let mut market = Market::new(SEED, &names);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            for event in market.tick(now_ms()) {
                let request = emit(event);
                if let Err(error) = node.hub().emit(&node, request).await {
                    tracing::warn!(%error, "the market's event was refused");
                }
            }
        }
    });
    Ok(())
}

fn emit(event: MarketEvent) -> EmitRequest {
    let (room, name, body): (String, &str, Value) = match event {
        MarketEvent::Quote { symbol, body } => (format!("quote:{symbol}"), "watchlist:quote", body),
        MarketEvent::Portfolio { user, body } => {
            (format!("portfolio:{user}"), "portfolio:updated", body)
        }
        MarketEvent::TradeExecuted { user, body } => {
            (format!("trades:{user}"), "trade:executed", body)
        }
        MarketEvent::TradeFailed { user, body } => (format!("trades:{user}"), "trade:failed", body),
    };
    let arg = to_raw_value(&body).expect("a JSON value is plain JSON");
    EmitRequest {
        namespace: "/".to_owned(),
        rooms: vec![room],
        except: Vec::new(),
        event: Event {
            name: name.to_owned(),
            args: vec![arg],
            attachments: Vec::new(),
        },
        volatile: false,
        id: None,
        local: false,
    }
}

/// Tells whoever started the demo what to do next.
pub fn greet(public: SocketAddr, private: SocketAddr, folder: &Path) {
    let users: String = USERS
        .iter()
        .map(|(name, password)| format!("    {name}   {password}\n"))
        .collect();
    let text = format!(
        "Tidings is running a demo: a simulated market with two traders.\n\n\
         Open   http://{public}/\n\n\
         Log in as\n{users}\n\
         The HTTP API for backends is at http://{private}/; make a key for it with\n    \
         tidings key create demo --scope emit --data-dir {}\n\n\
         Ctrl-C stops it. Start it again while the page is open: the page goes on.\n",
        folder.display()
    );
    // The greeting is a kindness; the demo goes on without a terminal.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
