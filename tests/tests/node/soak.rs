//! Hours in small: clients come and go, drop and recover while trades flow, and the node restarts.
//! Runs with `tests/run --long` alone.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::{Node, RunningNode, SessionCreds, SioClient};

const LASTS: Duration = Duration::from_secs(90);
const USERS: usize = 20;

/// What an hour in small may add to a node that is warm.
const GROWTH: usize = 48 << 20;

fn resident(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/statm")).expect("a running process");
    let pages: usize = status
        .split(' ')
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    pages * 4096
}

/// A user whose client lives through everything and must see each trade once, in order.
struct Trader {
    session: SessionCreds,
    client: Option<SioClient>,
    sent: u64,
    seen: u64,
}

impl Trader {
    async fn new(node: &RunningNode, name: &str) -> Trader {
        let session = node.session(name).await;
        let mut client = node.connected(&session).await;
        assert_eq!(
            client.ask("subscribe:trades", Value::Null).await["ok"],
            true
        );
        Trader {
            session,
            client: Some(client),
            sent: 0,
            seen: 0,
        }
    }

    async fn trade(&mut self, node: &RunningNode) {
        let path = format!("/api/v1/users/{}/trades/executed", self.session.user_id);
        let (status, answer) = node.api("POST", &path, json!({"n": self.sent})).await;
        assert_eq!(status, 202, "{answer}");
        self.sent += 1;
    }

    /// Takes all that is due.
    async fn catch_up(&mut self) {
        let client = self.client.as_mut().expect("it is connected");
        while self.seen < self.sent {
            let event = client.expect("trade:executed").await;
            assert_eq!(event.args[0]["n"], self.seen, "of {}", self.session.user_id);
            self.seen += 1;
        }
    }

    /// Drops the connection, misses some trades, comes back.
    async fn drop_and_recover(&mut self, node: &RunningNode) {
        let recovery = self.client.take().expect("it is connected").cut();
        for _ in 0..3 {
            self.trade(node).await;
        }
        let connector = node.client().auth(self.session.auth()).recover(&recovery);
        let client = connector.connect().await.expect("a valid session connects");
        assert!(client.recovered(), "{}", self.session.user_id);
        self.client = Some(client);
        self.catch_up().await;
    }
}

#[tokio::test]
#[ignore = "takes a minute and a half; tests/run --long runs it"]
async fn nothing_is_lost_and_nothing_grows() {
    let mut node = Node::new()
        .config("limits.events_per_minute_per_user", 0)
        .start()
        .await;
    let mut traders = Vec::new();
    for n in 0..USERS {
        traders.push(Trader::new(&node, &format!("trader-{n}")).await);
    }
    let begun = Instant::now();
    let mut warm = None;
    let mut round = 0;
    while begun.elapsed() < LASTS {
        for (n, trader) in traders.iter_mut().enumerate() {
            trader.trade(&node).await;
            if (n + round) % 4 == 0 {
                trader.drop_and_recover(&node).await;
            }
        }
        for _ in 0..10 {
            let passer_by = node.session("passer-by").await;
            let mut client = node.connected(&passer_by).await;
            client
                .ask("subscribe:watchlist", json!({"symbols": ["A", "B", "C"]}))
                .await;
            node.api("DELETE", "/api/v1/users/passer-by/sessions", Value::Null)
                .await;
            client.end().await;
        }
        for trader in &mut traders {
            trader.catch_up().await;
        }
        round += 1;
        if begun.elapsed() > LASTS / 3 {
            warm.get_or_insert_with(|| resident(node.id()));
        }
    }
    let grown = resident(node.id()).saturating_sub(warm.expect("there were rounds enough"));
    assert!(
        grown < GROWTH,
        "{} KiB more after {round} rounds",
        grown / 1024
    );
    let cut: Vec<_> = traders
        .iter_mut()
        .map(|trader| trader.client.take().expect("it is connected").cut())
        .collect();
    node.restart().await;
    for (trader, recovery) in traders.iter_mut().zip(cut) {
        let connector = node.client().auth(trader.session.auth()).recover(&recovery);
        let client = connector.connect().await.expect("a valid session connects");
        assert!(client.recovered(), "after the restart");
        trader.client = Some(client);
        trader.trade(&node).await;
        trader.catch_up().await;
    }
}
