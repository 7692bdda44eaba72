//! The HTTP edge: who asks, from where, and on behalf of which page.
//!
//! | module | what it decides |
//! |---|---|
//! | `built_in` | PURE: files of a page that are built into the program |
//! | `client_ip` | PURE: the address a request really came from |
//! | `cookies` | PURE: `Cookie` taken apart, `Set-Cookie` put together |
//! | `origin` | PURE: which pages may talk to this node, and the CORS headers that say so |

pub(crate) mod admin;
pub(crate) mod built_in;
pub mod client_files;
pub mod client_ip;
pub mod cookies;
pub(crate) mod engine;
pub mod health;
pub mod login;
pub mod origin;
pub(crate) mod private;
pub mod public;
pub mod site;
pub mod tls;
