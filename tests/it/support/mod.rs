//! A server of its own for each test, on either store, and a client for it.

pub mod command;
pub mod document;
pub mod paused;
pub mod postgres;
pub mod proxy;

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use haksa::app::{App, Clock};
use haksa::config::Config;
use haksa::demo;
use haksa::http::Patience;
use haksa::store::Store;
use haksa::vault::{MasterKey, Vault};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The time at which every test begins.
pub const NOW: &str = "2026-04-23T09:15:30Z";

/// How patient test servers are.
pub const PATIENCE: Patience = Patience {
    head_within: std::time::Duration::from_millis(700),
    body_within: std::time::Duration::from_millis(700),
    answer_within: std::time::Duration::from_millis(700),
};

/// Which store a test runs on.
#[derive(Clone, Copy, Debug)]
pub enum Backend {
    /// A file in a temporary folder.
    Sqlite,
    /// A database of its own in the cluster that `TEST_POSTGRES_URL` names.
    Postgres,
}

/// Runs each of the named functions, `async fn(server: Server)`, on both stores.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Server::start(crate::support::Backend::Sqlite).await)
                    .await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Server::start(crate::support::Backend::Postgres).await)
                    .await;
            })+
        }
    };
}
pub(crate) use on_both_stores;
pub(crate) use postgres::new_postgres_database;

/// A running server with the demo account.
pub struct Server {
    /// Its parts.
    pub app: App,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its database.
    pub url: String,
    /// Its clock, which stands at [`NOW`] until a test moves it.
    pub clock: Clock,
    _stop: oneshot::Sender<()>,
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts one.
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, Config::default()).await
    }

    /// Starts one with choices of the operator's.
    pub async fn start_with(backend: Backend, config: Config) -> Self {
        match backend {
            Backend::Sqlite => {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let url = format!("sqlite:{}", folder.path().join("haksa.db").display());
                Self::run(&url, config, Some(folder)).await
            }
            Backend::Postgres => Self::run(&postgres::with_demo().await, config, None).await,
        }
    }

    /// Starts one on a database that exists.
    pub async fn start_on(url: &str) -> Self {
        Self::run(url, Config::default(), None).await
    }

    /// Starts another on the same database, which has all of a server's patience.
    pub async fn patient(&self, config: Config) -> Self {
        Self::run_with(&self.url, config, None, Patience::default()).await
    }

    async fn run(url: &str, config: Config, folder: Option<tempfile::TempDir>) -> Self {
        Self::run_with(url, config, folder, PATIENCE).await
    }

    async fn run_with(
        url: &str,
        config: Config,
        folder: Option<tempfile::TempDir>,
        patience: Patience,
    ) -> Self {
        keep_logs();
        let store = Store::open(url).await.expect("the database opens");
        store.migrate().await.expect("the migrations apply");
        let outbox = haksa::delivery::outbox(&config).expect("the templates hold");
        let clock = Clock::frozen(NOW.parse().expect("an instant"));
        let vault = Vault::new(&MasterKey::from_bytes([7; 32]));
        let (app, _running) =
            App::start(store, vault, clock.clone(), outbox, config).expect("the writer starts");
        demo::load(&app).await.expect("the demo account loads");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = app.clone();
        tokio::spawn(async move {
            haksa::http::serve(listener, serving, patience, async {
                let _ = stopped.await;
            })
            .await
        });
        let url = url.to_owned();
        Self { app, address, url, clock, _stop: stop, _folder: folder }
    }

    /// Begins a request.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::to(self.address, method, target)
    }

    /// The changes of a record of the demo account, newest first; a hundred at the most.
    pub async fn history(&self, record: &str) -> Vec<Value> {
        let target = format!("/haksa/v1/records/{record}/history?limit=100");
        let reply = self.request("GET", &target).bearer("demo-admin-key").send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["items"].as_array().expect("changes").clone()
    }

    /// Begins the undo of a change.
    pub fn undo(&self, change: &Value) -> Request {
        let target = format!("/haksa/v1/changes/{}/undo", change["change_id"]);
        self.request("POST", &target).bearer("demo-admin-key")
    }

    /// The numbers in the first row that a statement of the test's own finds.
    pub async fn numbers(&self, statement: &str) -> Vec<i64> {
        numbers(&self.url, statement).await
    }

    /// Runs statements on the database behind the server's back.
    pub async fn spoil(&self, statements: &str) {
        if let Some(path) = self.url.strip_prefix("sqlite:") {
            let connection = rusqlite::Connection::open(path).expect("the file opens");
            connection.execute_batch(statements).expect("it takes that");
        } else {
            self.outsider().await.batch_execute(statements).await.expect("it takes that");
        }
    }

    /// A session beside the server's own, on PostgreSQL.
    pub async fn outsider(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.expect("a session");
        tokio::spawn(connection);
        client
    }

    /// Asserts that `haksa check` would find nothing.
    pub async fn assert_sound(&self) {
        let report = haksa::check::run(&self.app.store).await.expect("a check");
        assert_eq!(report.faults, [""; 0]);
    }

    /// What the demo account prints for programs.
    pub fn demo(&self) -> Value {
        demo::summary(&format!("http://{}", self.address))
    }
}

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    from: Option<Ipv4Addr>,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Request {
    /// Begins one to any server.
    pub fn to(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            from: None,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends it from 127.0.0.`last`, as another machine would.
    pub fn from(mut self, last: u8) -> Self {
        self.from = Some(Ipv4Addr::new(127, 0, 0, last));
        self
    }

    /// Sends it elsewhere.
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Takes a header out.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(found, _)| found != name);
        self
    }

    /// Adds `Authorization: Bearer`.
    pub fn bearer(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sends it.
    pub async fn send(self) -> Reply {
        self.try_send().await.expect("an answer")
    }

    /// Sends it; none when no whole answer came.
    pub async fn try_send(self) -> Option<Reply> {
        let stream = match self.from {
            None => TcpStream::connect(self.address).await.ok()?,
            Some(from) => {
                let socket = TcpSocket::new_v4().ok()?;
                socket.bind((from, 0).into()).ok()?;
                socket.connect(self.address).await.ok()?
            }
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method(self.method.as_str())
            .uri(&self.target)
            .header("host", self.address.to_string());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).expect("a request");
        let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let reply = Reply { status: parts.status.as_u16(), headers: parts.headers, body };
        document::judge(&self.method, &self.target, &reply);
        Some(reply)
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The version that its entity tag names, whatever else the tag is about.
    pub fn version(&self) -> &str {
        let tag = self.header("etag").trim_matches('"');
        tag.split_once('-').map_or(tag, |(version, _)| version)
    }

    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The numbers in the first row that a statement finds in a database, beside whoever serves it.
pub async fn numbers(database: &str, statement: &str) -> Vec<i64> {
    if let Some(path) = database.strip_prefix("sqlite:") {
        let connection = rusqlite::Connection::open(path).expect("the file opens");
        let mut statement = connection.prepare(statement).expect("a statement");
        let width = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| (0..width).map(|column| row.get(column)).collect();
        return statement.query_row([], row).expect("a row of numbers");
    }
    let connecting = tokio_postgres::connect(database, tokio_postgres::NoTls).await;
    let (client, connection) = connecting.expect("the database");
    tokio::spawn(connection);
    let row = client.query_one(statement, &[]).await.expect("a row");
    (0..row.len()).map(|column| row.get(column)).collect()
}

/// Writes everything that is logged into the folder that `TEST_LOGS` names, where one is named: to
/// be searched for secrets afterwards.
fn keep_logs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        #[expect(clippy::disallowed_methods, reason = "the test script names its folder this way")]
        let Ok(folder) = std::env::var("TEST_LOGS") else {
            return;
        };
        let path = format!("{folder}/{}.log", std::process::id());
        let file = std::fs::File::create(path).expect("a log file");
        // As talkative as an operator could make it.
        let filter = haksa::cli::log_filter("trace,tokio_postgres::query=trace").expect("a filter");
        let lines = tracing_subscriber::fmt::layer().with_ansi(false);
        let lines = lines.with_writer(std::sync::Mutex::new(file)).with_filter(filter);
        tracing_subscriber::registry().with(lines).init();
    });
}
