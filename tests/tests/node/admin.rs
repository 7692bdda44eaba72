//! The admin page over HTTP: who is let in, what a session may do, what other pages cannot have a
//! browser do, and what the log says of it. The page itself is driven by `admin_page`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::raw_http::Response;
use tidings_tests::{Certificate, Node, RawHttp, RunningNode, SILENCE, eventually};

const PASSWORD: &str = "correct horse battery staple";

fn run(node: &RunningNode, args: &[&str], input: &str) -> (bool, String) {
    let (status, out, errors) = node.command(&[&["admin"], args].concat(), input);
    (status.success(), out + &errors)
}

async fn node_with_root() -> RunningNode {
    let node = Node::new().start().await;
    let args = ["add", "root", "--password-stdin"];
    let (added, said) = run(&node, &args, PASSWORD);
    assert!(added, "{said}");
    node
}

/// An admin's browser: the cookie, the proof, and the headers that go with a request.
struct Admin<'n> {
    node: &'n RunningNode,
    cookie: String,
    proof: String,
}

impl<'n> Admin<'n> {
    async fn of(node: &'n RunningNode) -> Admin<'n> {
        let answer = log_in(node, "root", PASSWORD, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Admin::from(node, &answer)
    }

    fn from(node: &'n RunningNode, answer: &Response) -> Admin<'n> {
        let cookie = answer.header("set-cookie").expect("a login sets a cookie");
        let cookie = cookie.split(';').next().expect("it has a value");
        Admin {
            node,
            cookie: cookie.to_owned(),
            proof: answer.json()["proof"].as_str().expect("a proof").to_owned(),
        }
    }

    async fn ask(&self, method: &str, path: &str) -> Response {
        let origin = origin(self.node);
        let headers = [("Origin", &*origin), ("X-Admin-Proof", &self.proof)];
        self.ask_with(method, path, &headers).await
    }

    async fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let headers = [&[("Cookie", &*self.cookie)], headers].concat();
        RawHttp::once(self.node.private(), method, path, &headers, b"").await
    }
}

fn origin(node: &RunningNode) -> String {
    node.private_url()
}

async fn log_in(
    node: &RunningNode,
    name: &str,
    password: &str,
    headers: &[(&str, &str)],
) -> Response {
    let origin = origin(node);
    let own = [
        ("Origin", origin.as_str()),
        ("Content-Type", "application/json"),
    ];
    let body = json!({"username": name, "password": password}).to_string();
    let headers = [&own, headers].concat();
    RawHttp::once(
        node.private(),
        "POST",
        "/admin/login",
        &headers,
        body.as_bytes(),
    )
    .await
}

fn code(answer: &Response) -> Value {
    answer.json()["error"]["code"].take()
}

#[tokio::test]
async fn an_admin_looks_and_acts_and_the_log_says_so() {
    let node = node_with_root().await;
    let answer = log_in(&node, "root", PASSWORD, &[]).await;
    let cookie = answer.header("set-cookie").expect("a login sets a cookie");
    assert!(cookie.starts_with("tidings-admin="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    let admin = Admin::from(&node, &answer);
    let session = admin.ask("GET", "/admin/session").await.json();
    assert_eq!(
        (&session["name"], &session["proof"]),
        (&json!("root"), &json!(admin.proof))
    );

    let mut alice = node.connected(&node.session("alice").await).await;
    let bob = node.session("bob").await;
    let mut bob = node.connected(&bob).await;
    let overview = admin.ask("GET", "/api/v1/overview").await.json();
    assert_eq!(overview["now"]["sockets"], 2, "{overview}");
    assert_eq!(overview["totals"]["connectsAccepted"], 2, "{overview}");
    let user = admin.ask("GET", "/api/v1/users/alice").await.json();
    let socket = &user["sockets"][0];
    let since = socket["since"].as_str().expect("a time");
    assert!(since.starts_with("20"), "{socket}");
    assert!(
        !socket["node"].as_str().expect("a name").is_empty(),
        "{socket}"
    );

    // What hands out secrets or speaks for users takes a key.
    for (method, path) in [
        ("GET", "/api/v1/backup"),
        ("GET", "/api/v1/sessions/x"),
        ("POST", "/api/v1/sessions"),
        ("POST", "/api/v1/emit"),
        ("POST", "/api/v1/rooms/a/join"),
        ("POST", "/api/v1/cluster/forget/x"),
        ("GET", "/api/openapi.json"),
    ] {
        let answer = admin.ask(method, path).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }

    let id = socket["id"].as_str().expect("an id");
    let done = admin
        .ask("POST", &format!("/api/v1/sockets/{id}/disconnect"))
        .await;
    assert_eq!((done.status, done.json()), (202, json!({"sockets": 1})));
    alice.end().await;
    let done = admin.ask("DELETE", "/api/v1/users/bob/sessions").await;
    assert_eq!(done.status, 204);
    bob.end().await;
    let odd = "/api/v1/users/a%0A2026%20ERROR%20x/disconnect";
    assert_eq!(admin.ask("POST", odd).await.status, 202);

    assert_eq!(admin.ask("POST", "/admin/logout").await.status, 204);
    assert_eq!(admin.ask("GET", "/api/v1/overview").await.status, 401);
    let log = node.log();
    let audit: Vec<_> = log
        .lines()
        .filter(|line| line.contains("tidings::audit"))
        .collect();
    for told in [
        "an admin logged in admin=\"root\" ip=127.0.0.1",
        &format!("act=DisconnectSocket on=\"{id}\" status=202"),
        "act=DeleteSessions on=\"bob\" status=204",
        "act=DisconnectUser on=\"a\\n2026 ERROR x\" status=202",
        "an admin logged out admin=\"root\"",
    ] {
        assert!(
            audit.iter().any(|line| line.contains(told)),
            "{told} is not in {audit:#?}"
        );
    }
    let token = admin.cookie.split('=').nth(1).expect("a token");
    for secret in [PASSWORD, token, &admin.proof] {
        assert!(!log.contains(secret), "a secret is in the log:\n{log}");
    }
}

#[tokio::test]
async fn other_pages_have_a_browser_do_nothing() {
    let node = node_with_root().await;
    let admin = Admin::of(&node).await;
    let (own, proof) = (origin(&node), admin.proof.as_str());
    let own = own.as_str();
    let other = "http://127.0.0.1:1";
    let act = ("POST", "/api/v1/users/alice/disconnect");
    let look = ("GET", "/api/v1/overview");
    for ((method, path), headers) in [
        (act, &[][..]),
        (act, &[("Origin", own)]),
        (act, &[("X-Admin-Proof", proof)]),
        (act, &[("Origin", other), ("X-Admin-Proof", proof)]),
        (act, &[("Origin", "null"), ("X-Admin-Proof", proof)]),
        (act, &[("Origin", own), ("X-Admin-Proof", "wrong")]),
        (
            act,
            &[
                ("Origin", own),
                ("X-Admin-Proof", proof),
                ("Sec-Fetch-Site", "same-site"),
            ],
        ),
        (look, &[]),
        (look, &[("X-Admin-Proof", "")]),
        (look, &[("Origin", other), ("X-Admin-Proof", proof)]),
        (("POST", "/admin/logout"), &[("Origin", own)]),
        (("POST", "/admin/session"), &[("Origin", own)]),
        (("GET", "/admin/session"), &[("Origin", other)]),
        (
            ("GET", "/admin/session"),
            &[("Sec-Fetch-Site", "cross-site")],
        ),
    ] {
        let answer = admin.ask_with(method, path, headers).await;
        let seen = (answer.status, code(&answer));
        assert_eq!(
            seen,
            (403, json!("forbidden")),
            "{method} {path} {headers:?}"
        );
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    // Nor log somebody in as somebody else.
    let body = json!({"username": "root", "password": PASSWORD}).to_string();
    for (origin, kind, status) in [
        (other, "application/json", 403),
        (own, "text/plain", 415),
        (own, "application/x-www-form-urlencoded", 415),
    ] {
        let headers = [("Origin", origin), ("Content-Type", kind)];
        let path = "/admin/login";
        let answer = RawHttp::once(node.private(), "POST", path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{origin} {kind}");
        assert!(answer.header("set-cookie").is_none());
    }
    assert_eq!(admin.ask("GET", "/api/v1/overview").await.status, 200);
    let proved = [("X-Admin-Proof", proof), ("Sec-Fetch-Site", "same-origin")];
    let answer = admin.ask_with("GET", "/api/v1/overview", &proved).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn failures_lock_and_say_nothing() {
    let node = node_with_root().await;
    let mut told = Vec::new();
    for name in ["root", "nobody"] {
        let mut refused = Vec::new();
        // On a busy machine one try may take longer than the first wait lasts. Each is twice as long.
        let locked = loop {
            let answer = log_in(&node, name, "a wrong password", &[]).await;
            assert!(answer.header("set-cookie").is_none());
            if answer.status == 429 {
                break answer.json();
            }
            assert_eq!(answer.status, 401, "{name}");
            refused.push(answer.json());
            assert!(refused.len() < 8, "{name} is not locked");
        };
        assert!(refused.len() >= 5, "{name} is locked after {refused:?}");
        refused.dedup();
        told.push((refused, locked));
    }
    assert_eq!(
        told[0], told[1],
        "a name that nobody has is told from one that somebody has"
    );
    // A wait is at hand at once; the right password comes in when it is over.
    let begun = Instant::now();
    let locked = log_in(&node, "root", PASSWORD, &[]).await;
    if locked.status == 429 {
        let wait = locked.header("retry-after");
        let wait: u64 = wait.and_then(|it| it.parse().ok()).expect("seconds");
        assert!((1..=8).contains(&wait), "{wait} s");
    } else {
        assert!(
            begun.elapsed() > Duration::from_millis(100),
            "it was not locked"
        );
    }
    eventually("the lock opens", async || {
        log_in(&node, "root", PASSWORD, &[]).await.status == 200
    })
    .await;
    let log = node.log();
    assert!(log.contains("an admin's login failed admin=\"root\" ip=127.0.0.1 why=\"locked\""));
    assert!(log.contains("admin=\"(unknown)\""), "{log}");
    assert!(
        !log.contains("nobody"),
        "a name may be a password in the wrong field"
    );
}

/// Whoever has not logged in has no more of the node's memory.
#[tokio::test]
async fn a_login_has_a_small_body() {
    let node = node_with_root().await;
    let long = "x".repeat(8 << 10);
    let answer = log_in(&node, "root", &long, &[]).await;
    assert_eq!((answer.status, code(&answer)), (413, json!("too_large")));
    assert_eq!(log_in(&node, "root", &long[..4096], &[]).await.status, 401);
    assert_eq!(log_in(&node, "root", PASSWORD, &[]).await.status, 200);
}

/// Browsers send the cookies of a host to all its ports: one of another program may have the name.
#[tokio::test]
async fn a_cookie_of_another_port_does_not_hide_the_session() {
    let node = node_with_root().await;
    let mut admin = Admin::of(&node).await;
    let own = admin.cookie.clone();
    for cookies in [
        format!("tidings-admin=of-another-port; {own}"),
        format!("{own}; tidings-admin=of-another-port"),
        format!("theme=dark; tidings-admin=; {own}"),
    ] {
        admin.cookie.clone_from(&cookies);
        let answer = admin.ask("GET", "/admin/session").await;
        assert_eq!(answer.status, 200, "{cookies}");
        let answer = admin.ask("GET", "/api/v1/overview").await;
        assert_eq!(answer.status, 200, "{cookies}");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_password_its_account_and_the_next_login() {
    let mut node = node_with_root().await;
    let before = Admin::of(&node).await;
    let answer = log_in(&node, "root", PASSWORD, &[("Cookie", &before.cookie)]).await;
    let admin = Admin::from(&node, &answer);
    assert_ne!(admin.cookie, before.cookie, "a login makes a new token");
    let looks = async |admin: &Admin<'_>| admin.ask("GET", "/api/v1/overview").await.status;
    assert_eq!((looks(&before).await, looks(&admin).await), (401, 200));
    let renewed = admin.ask("POST", "/admin/session").await;
    assert_eq!(
        (renewed.status, &renewed.json()["name"]),
        (200, &json!("root"))
    );

    let new = "another good password";
    let passwd = ["passwd", "root", "--password-stdin"];
    let (changed, said) = run(&node, &passwd, new);
    assert!(changed && said.contains("1 session ended"), "{said}");
    assert_eq!(looks(&admin).await, 401);
    assert_eq!(admin.ask("GET", "/admin/session").await.status, 204);
    assert_eq!(log_in(&node, "root", PASSWORD, &[]).await.status, 401);

    let (added, said) = run(&node, &["add", "eve", "--password-stdin"], "short");
    assert!(!added && said.contains("12 to 1024 bytes"), "{said}");
    let (again, said) = run(&node, &["add", "root", "--password-stdin"], new);
    assert!(
        !again && said.contains("there is such a name already"),
        "{said}"
    );
    let (listed, said) = run(&node, &["list"], "");
    assert!(listed && said.contains("root"), "{said}");

    let answer = log_in(&node, "root", new, &[]).await;
    let cookie = Admin::from(&node, &answer).cookie;
    node.restart().await;
    // The account is kept, its sessions are not.
    let headers = [("Cookie", cookie.as_str())];
    let path = "/admin/session";
    let old = RawHttp::once(node.private(), "GET", path, &headers, b"").await;
    assert_eq!(old.status, 204);
    let answer = log_in(&node, "root", new, &[]).await;
    let admin = Admin::from(&node, &answer);
    let (removed, said) = run(&node, &["remove", "root"], "");
    assert!(removed && said.contains("1 session ended"), "{said}");
    assert_eq!(looks(&admin).await, 401);
    assert_eq!(log_in(&node, "root", new, &[]).await.status, 401);
}

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere() {
    let node = Node::new().start().await;
    let moved = RawHttp::get(node.private(), "/admin").await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (308, Some("/admin/"))
    );
    let page = RawHttp::get(node.private(), "/admin/").await;
    let html = page.text().to_owned();
    let files = html
        .split('"')
        .filter(|it| it.ends_with(".js") || it.ends_with(".css"));
    let paths: Vec<_> = files.map(|file| format!("/admin/{file}")).collect();
    assert!(paths.len() >= 2, "{html}");
    for path in paths.iter().map(String::as_str).chain(["/admin/"]) {
        let file = RawHttp::get(node.private(), path).await;
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; "),
            "{policy}"
        );
        for must in [
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(must), "{policy}");
        }
        for never in ["unsafe", "http", "*", "data:"] {
            assert!(!policy.contains(never), "{policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(file.header(name), Some(value), "{path}");
        }
    }
    let overview = node
        .api_response("GET", "/api/v1/overview", &Value::Null)
        .await;
    assert_eq!(overview.status, 200, "a key with the scope opens it");
    assert_eq!(overview.header("x-content-type-options"), Some("nosniff"));
    // None of it is for the public.
    for path in [
        "/admin/",
        "/admin/app.js",
        "/admin/session",
        "/api/v1/overview",
    ] {
        assert_eq!(
            RawHttp::get(node.public(), path).await.status,
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn over_tls_the_cookie_stays_there() {
    let certificate = Certificate::new();
    let node = Node::new();
    let cert = node.file("chain.pem", &certificate.chain);
    let key = node.file("key.pem", &certificate.key);
    let node = node
        .config("tls.cert", cert)
        .config("tls.key", key)
        .config("listen.private", "0.0.0.0:0")
        .start()
        .await;
    let (added, said) = run(&node, &["add", "root", "--password-stdin"], PASSWORD);
    assert!(added, "{said}");
    let stream = certificate.connect(node.private()).await;
    let body = json!({"username": "root", "password": PASSWORD}).to_string();
    let headers = [
        ("Origin", "https://localhost"),
        ("Content-Type", "application/json"),
    ];
    let answer = RawHttp::over(stream, "localhost")
        .request("POST", "/admin/login", &headers, body.as_bytes())
        .await;
    let cookie = answer.header("set-cookie").expect("a login sets a cookie");
    assert!(cookie.starts_with("__Host-tidings-admin="), "{cookie}");
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
}

#[tokio::test]
async fn limits_tell_how_often_they_held_something_back() {
    let node = Node::new()
        .config("limits.subscriptions_per_user", 1)
        .start()
        .await;
    let mut alice = node.connected(&node.session("alice").await).await;
    let both = json!({"symbols": ["AAPL", "TSLA"]});
    let answer = alice.ask("subscribe:watchlist", both).await;
    assert_eq!(answer["joined"], json!(["AAPL"]), "{answer}");
    let (_, overview) = node.api("GET", "/api/v1/overview", Value::Null).await;
    let limits = overview["limits"].as_array().expect("a list");
    let limit = limits
        .iter()
        .find(|it| it["key"] == "limits.subscriptions_per_user");
    let limit = limit.expect("it is listed");
    assert_eq!(limit["value"], 1);
    assert!(limit["held"].as_u64() >= Some(1), "{limit}");
    let metrics = node.api_response("GET", "/metrics", &Value::Null).await;
    let line = format!(
        "tidings_limited_total{{limit=\"subscriptions_per_user\"}} {}",
        limit["held"]
    );
    assert!(metrics.text().contains(&line), "{line}");
    alice.silent_for(SILENCE).await;
}

#[tokio::test]
async fn the_largest_rooms_come_first() {
    let node = Node::new()
        .tables("[channels.news]\nrooms = [\"news:{topic}\"]\n")
        .start()
        .await;
    let mut clients = Vec::new();
    for (user, topics) in [
        ("a", &["tea", "gin"][..]),
        ("b", &["tea", "rum"]),
        ("c", &["tea", "gin"]),
    ] {
        let mut client = node.connected(&node.session(user).await).await;
        for topic in topics {
            client.ask("subscribe:news", json!({"topic": topic})).await;
        }
        clients.push(client);
    }
    let path = "/api/v1/rooms?contains=news%3A&order=sockets&limit=2";
    let (_, found) = node.api("GET", path, Value::Null).await;
    let expected = json!({
        "rooms": [{"room": "news:tea", "sockets": 3}, {"room": "news:gin", "sockets": 2}],
        "count": 3,
        "next": null,
    });
    assert_eq!(found, expected);
    for query in ["order=size", "order=sockets&after=x"] {
        let (status, _) = node
            .api("GET", &format!("/api/v1/rooms?{query}"), Value::Null)
            .await;
        assert_eq!(status, 400, "{query}");
    }
}
