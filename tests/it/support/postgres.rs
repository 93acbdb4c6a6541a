//! Databases in the test cluster.

use std::time::Duration;

use haksa::app::OsEntropy;
use haksa::domain::command::Entropy as _;
use tokio_postgres::Client;

use super::Server;

/// Makes an empty database and gives its URL.
pub(crate) async fn new_postgres_database() -> String {
    let name = any_name();
    administrator().await.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("one");
    url_of(&name)
}

/// Makes a database that holds the demo account and gives its URL. All are copies of one that the first test of this
/// build makes: a copy takes a tenth of the time.
pub(super) async fn with_demo() -> String {
    let administrator = administrator().await;
    let template = format!("demo_{}", build());
    administrator.batch_execute("SELECT pg_advisory_lock(1)").await.expect("the lock");
    let known = "SELECT FROM pg_database WHERE datname = $1";
    if administrator.query_opt(known, &[&template]).await.expect("an answer").is_none() {
        make(&administrator, &template).await;
    }
    administrator.batch_execute("SELECT pg_advisory_unlock(1)").await.expect("the lock");
    let name = any_name();
    let copy = format!("CREATE DATABASE {name} TEMPLATE {template}");
    administrator.batch_execute(&copy).await.expect("a copy");
    url_of(&name)
}

/// Makes the template under another name first: what was begun and not finished is never copied.
async fn make(administrator: &Client, template: &str) {
    let url = new_postgres_database().await;
    let name = url.rsplit_once('/').expect("a URL with a database").1.to_owned();
    // With the runtime goes every session that the server holds; a database in use cannot be renamed.
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        drop(runtime.block_on(Server::start_on(&url)));
        runtime.shutdown_timeout(Duration::from_secs(10));
    });
    tokio::task::spawn_blocking(|| made.join().expect("the demo account loads")).await.expect("it");
    let rename = format!(
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
         ALTER DATABASE {name} RENAME TO {template};"
    );
    for _ in 0..100 {
        if administrator.batch_execute(&rename).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    administrator.batch_execute(&rename).await.expect("nobody uses it any more");
}

/// Tells this build of the tests from others.
fn build() -> u128 {
    let path = std::env::current_exe().expect("a program");
    let modified = path.metadata().and_then(|it| it.modified()).expect("a time");
    modified.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros()
}

fn any_name() -> String {
    format!("test_{}", OsEntropy.uuid().replace('-', ""))
}

fn cluster() -> String {
    #[expect(clippy::disallowed_methods, reason = "the test script names its cluster this way")]
    std::env::var("TEST_POSTGRES_URL")
        .expect("TEST_POSTGRES_URL names a PostgreSQL cluster; scripts/test starts one")
}

fn url_of(name: &str) -> String {
    let cluster = cluster();
    let (server, _) = cluster.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

async fn administrator() -> Client {
    let (client, connection) =
        tokio_postgres::connect(&cluster(), tokio_postgres::NoTls).await.expect("the cluster");
    tokio::spawn(connection);
    client
}
