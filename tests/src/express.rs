//! A small application of Express, express-session and connect-mongo beside a node.

use serde_json::json;

use crate::node::SessionCreds;
use crate::script::RunningScript;
use crate::{RawHttp, Script};

/// The secrets that sign the application's cookies, the first one signing. A node needs the same.
pub const SECRETS: [&str; 2] = ["the secret of this year", "the secret of last year"];

/// What the application encrypts sessions with, where it does.
pub const CRYPTO: &str = "what sessions are encrypted with";

/// The running application; it ends with the value.
pub struct Express {
    _script: RunningScript,
    address: String,
}

/// Somebody who has logged in there.
#[derive(Debug, Clone)]
pub struct WebLogin {
    /// For `auth` of a CONNECT.
    pub session: SessionCreds,
    /// `connect.sid=…`, for a `Cookie` header.
    pub cookie: String,
}

impl Express {
    /// Starts it on a database; `args` are those of `tests/clients/express.mjs`.
    pub async fn start(uri: &str, args: &[&str]) -> Express {
        let script = Script::node("express.mjs").arg(uri);
        let script = script.args(args.iter().copied());
        let script = script.env("SECRETS", &SECRETS.join(","));
        let mut script = script.env("SESSION_CRYPTO", CRYPTO).start();
        let address = script.says("listening on ").await;
        Express {
            _script: script,
            address,
        }
    }

    /// Logs a user in.
    pub async fn login(&self, user: &str) -> WebLogin {
        let body = json!({ "userId": user }).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer =
            RawHttp::once(&self.address, "POST", "/login", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").expect("a login sets a cookie");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let session_id = answer.json()["sessionID"].as_str().map(str::to_owned);
        WebLogin {
            session: SessionCreds {
                session_id: session_id.expect("a login has a session"),
                user_id: user.to_owned(),
            },
            cookie,
        }
    }

    /// Logs out: the session is destroyed.
    pub async fn logout(&self, login: &WebLogin) {
        self.ask("POST", "/logout", login, 204).await;
    }

    /// Keeps the session and takes the user out of it.
    pub async fn leave(&self, login: &WebLogin) {
        self.ask("POST", "/leave", login, 204).await;
    }

    /// Visits a page, which moves the session's end.
    pub async fn visit(&self, login: &WebLogin) {
        self.ask("GET", "/touch", login, 200).await;
    }

    async fn ask(&self, method: &str, path: &str, login: &WebLogin, status: u16) {
        let headers = [("Cookie", login.cookie.as_str())];
        let answer = RawHttp::once(&self.address, method, path, &headers, b"").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
}
