//! `balancer LISTEN SERVER...` puts the harness's balancer before servers that others started, for
//! suites with an address built in.

use std::process::ExitCode;

use tidings_tests::Balancer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((listen, servers)) = arguments.split_first() else {
        return ExitCode::from(64);
    };
    let _balancer = Balancer::listen(listen, servers).await;
    std::future::pending().await
}
