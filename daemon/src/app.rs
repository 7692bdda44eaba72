//! What a connected client may do, and what is known about it.
//!
//! | module | what it decides |
//! |---|---|
//! | `accounts` | users, sessions and API keys over the embedded store |
//! | `admins` | who may use the admin page |
//! | `admit` | who comes in at CONNECT, and with what to catch up on |
//! | `auth` | who a socket belongs to |
//! | `channels` | the default handler: `subscribe:` and `unsubscribe:` by configuration |
//! | `cookie` | PURE: the signature of an `express-session` cookie |
//! | `handler` | the trait that decides over clients |
//! | `keys` | who makes a request to the private API, and what for |
//! | `limits` | events, handshakes, logins and subscriptions against their limits |
//! | `passwords` | argon2id, off the async threads and bounded |
//! | `random` | unguessable ids and secrets |
//! | `shared` | logins that an application keeps in MongoDB |
//! | `window` | PURE: how many hits fall into the last minute |

pub mod accounts;
pub mod admins;
pub(crate) mod admit;
pub mod auth;
pub mod channels;
pub mod cookie;
pub mod handler;
pub mod keys;
pub mod limits;
pub mod passwords;
pub mod random;
pub mod shared;
pub mod window;
