//! A thousand connected clients through `systemctl restart`: all are back, and none has missed a
//! trade or seen one twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_tests::sio::Connector;
use tidings_tests::{SessionCreds, SioClient};
use tokio::task::JoinSet;

use crate::site::Site;

const CLIENTS: usize = 1000;

/// Trades of each user before the restart, and as many while it happens and after.
const TRADES: u64 = 3;

/// How long all may take to be back: the recovery window.
const BACK: Duration = Duration::from_secs(120);

/// A user and what it has seen.
struct Trader {
    session: SessionCreds,
    client: Option<SioClient>,
    seen: u64,
    returns: u32,
}

impl Trader {
    /// Takes in trades until all are there, coming back as often as need be.
    async fn see(mut self, public: Arc<str>, all: u64) -> Trader {
        while self.seen < all {
            let mut client = self.client.take().expect("it is connected");
            match client.next_event_or_end().await {
                Some(event) if event.name == "trade:executed" => {
                    assert_eq!(event.args[0]["n"], self.seen, "of {}", self.session.user_id);
                    self.seen += 1;
                    self.client = Some(client);
                }
                Some(_) => self.client = Some(client),
                None => {
                    let recovery = client.recovery();
                    self.client = Some(self.back(&public, &recovery).await);
                    self.returns += 1;
                }
            }
        }
        self
    }

    async fn back(&self, public: &str, recovery: &tidings_tests::Recovery) -> SioClient {
        let connector = Connector::to(public).auth(self.session.auth());
        let connector = connector.recover(recovery);
        let mut wait = Duration::from_millis(200);
        loop {
            // As clients do: refused or turned away for now, they try again a little later.
            if let Ok(client) = connector.connect().await {
                assert!(client.recovered(), "{}", self.session.user_id);
                return client;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(Duration::from_secs(2));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long, and needs root: tests/run --long runs it"]
async fn clients_are_all_back_and_nothing_is_missed() {
    let site = Arc::new(Site::started());
    let public: Arc<str> = site.public.as_str().into();
    let mut traders = Vec::new();
    for n in 0..CLIENTS {
        let session = site.session(&format!("trader-{n}")).await;
        let client = Some(site.trader(&session).await);
        traders.push(Trader {
            session,
            client,
            seen: 0,
            returns: 0,
        });
    }
    let users: Vec<_> = traders
        .iter()
        .map(|it| it.session.user_id.clone())
        .collect();
    for n in 0..TRADES {
        for user in &users {
            site.trade(user, n).await;
        }
    }
    let mut seeing = JoinSet::new();
    for trader in traders {
        seeing.spawn(trader.see(public.clone(), 2 * TRADES));
    }
    let restarted = Instant::now();
    let machine = site.clone();
    let restart = tokio::task::spawn_blocking(move || machine.systemctl(&["restart", "tidings"]));
    restart.await.expect("it restarts");
    let took = restarted.elapsed();
    for n in TRADES..2 * TRADES {
        for user in &users {
            site.trade(user, n).await;
        }
    }
    let mut returns = 0;
    let all = async {
        while let Some(seen) = seeing.join_next().await {
            let trader = seen.expect("each trade once and in order");
            assert!(trader.returns >= 1, "{} was moved", trader.session.user_id);
            returns += trader.returns;
        }
    };
    tokio::time::timeout(BACK, all)
        .await
        .expect("all are back in time");
    println!(
        "{CLIENTS} clients: the restart took {took:?}, all had all after {:?}; {returns} returns",
        restarted.elapsed()
    );
}
