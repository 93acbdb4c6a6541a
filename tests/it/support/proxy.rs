//! A network between a server and its PostgreSQL that can go silent: connections stay open, and nothing
//! comes through.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// It comes through.
    Fair,
    /// It waits.
    Silent,
    /// The next commit comes through, and nothing after it on that connection.
    AnswerLost(Then),
    /// The next commit does not come through, nor anything after it on that connection.
    CommitLost(Then),
}

/// How it goes on after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// That connection is silent.
    Fair,
    /// All are.
    Silent,
    /// That connection is closed.
    Closed,
}

/// See the module.
pub struct Proxy {
    /// The database by way of it.
    pub url: String,
    weather: Arc<watch::Sender<Weather>>,
}

const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Proxy {
    /// Stands before the database of `url`.
    pub async fn before(url: &str) -> Self {
        let (rest, name) = url.rsplit_once('/').expect("a database");
        let (user, server) = rest.rsplit_once('@').expect("a server");
        let server: SocketAddr = server.parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("{user}@{}/{name}", listener.local_addr().expect("an address"));
        let weather = Arc::new(watch::Sender::new(Weather::Fair));
        let shared = Arc::clone(&weather);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self { url, weather }
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// What it is now: a commit that was waited for has come when it is fair or silent again.
    pub fn weather(&self) -> Weather {
        *self.weather.borrow()
    }
}

async fn forward(client: TcpStream, server: SocketAddr, weather: Arc<watch::Sender<Weather>>) {
    until_heard(&weather).await;
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_cut = Arc::new(watch::Sender::new(false));
    let back = pass(from_server, to_client, Arc::clone(&weather), Arc::clone(&is_cut), false);
    let forth = pass(from_client, to_server, weather, is_cut, true);
    // With one way the other is closed.
    tokio::select! { () = back => {}, () = forth => {} }
}

async fn until_heard(weather: &watch::Sender<Weather>) {
    let _ = weather.subscribe().wait_for(|weather| *weather != Weather::Silent).await;
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: Arc<watch::Sender<Weather>>,
    is_cut: Arc<watch::Sender<bool>>,
    is_from_client: bool,
) {
    let mut bytes = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        until_heard(&weather).await;
        if *is_cut.borrow() {
            std::future::pending::<()>().await;
        }
        let commit = bytes[..count].windows(COMMIT.len()).position(|part| part == COMMIT);
        let (then, length) = match (*weather.borrow(), commit) {
            (Weather::AnswerLost(then), Some(_)) if is_from_client => (Some(then), count),
            (Weather::CommitLost(then), Some(start)) if is_from_client => (Some(then), start),
            _ => (None, count),
        };
        if let Some(then) = then {
            is_cut.send_replace(true);
            to.write_all(&bytes[..length]).await.expect("the server takes it");
            let next = if then == Then::Silent { Weather::Silent } else { Weather::Fair };
            weather.send_replace(next);
            if then == Then::Closed {
                // What was sent is taken first.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                return;
            }
            std::future::pending::<()>().await;
        }
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
