//! Commands that fail, or take long, on purpose:
//! <https://github.com/mongodb/mongo/wiki/The-%22failCommand%22-fail-point>.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use super::{Mongod, soon};

/// What happens to commands.
pub struct Fail {
    commands: Vec<String>,
    data: Document,
}

impl Fail {
    /// These commands, such as `find`; each as clients send it.
    pub fn commands<const N: usize>(commands: [&str; N]) -> Fail {
        Fail {
            commands: commands.map(str::to_owned).into(),
            data: Document::new(),
        }
    }

    /// They are answered with this error.
    pub fn with_code(mut self, code: i32) -> Fail {
        self.data.insert("errorCode", code);
        self
    }

    /// They take so much longer.
    pub fn after(mut self, delay: Duration) -> Fail {
        let delay = i64::try_from(delay.as_millis()).expect("a delay is short");
        self.data.insert("blockConnection", true);
        self.data.insert("blockTimeMS", delay);
        self
    }

    /// The connection is closed in their place.
    pub fn by_closing(mut self) -> Fail {
        self.data.insert("closeConnection", true);
        self
    }
}

impl Mongod {
    /// Has commands of Tidings fail until [`Mongod::heal`]; the test's own do not.
    pub async fn fail(&self, fail: Fail) {
        let mut data = fail.data;
        data.insert("failCommands", fail.commands);
        data.insert("appName", "tidings");
        self.fail_point(doc! { "mode": "alwaysOn", "data": data })
            .await;
    }

    /// No command fails on purpose any more.
    pub async fn heal(&self) {
        self.fail_point(doc! { "mode": "off" }).await;
    }

    async fn fail_point(&self, how: Document) {
        let mut command = doc! { "configureFailPoint": "failCommand" };
        command.extend(how);
        let admin = self.direct().await;
        let done = soon("a fail point is set", async {
            admin.run_command(command).await
        });
        done.await.expect("a fail point can be set");
    }
}
