//! Many people who redeem one invite code at the same moment.
//!
//! `crowd HOST:PORT TOKEN_PREFIX PEOPLE CODE` opens a connection for each of them, lets all send at once, and prints one
//! line of JSON. Person `n`'s token is the prefix and the number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

#[derive(Clone)]
struct Plan {
    address: String,
    prefix: String,
    people: usize,
    code: String,
}

fn plan() -> Option<Plan> {
    let mut arguments = std::env::args().skip(1);
    Some(Plan {
        address: arguments.next()?,
        prefix: arguments.next()?,
        people: arguments.next()?.parse().ok()?,
        code: arguments.next()?,
    })
}

/// Sends one request when everybody is ready; gives the answer's first line and `detail`, and when it was whole.
async fn redeem(
    plan: Arc<Plan>,
    number: usize,
    ready: Arc<Barrier>,
) -> std::io::Result<(String, Instant)> {
    let mut stream = TcpStream::connect(&plan.address).await?;
    stream.set_nodelay(true)?;
    let body = format!(r#"{{"code":"{}"}}"#, plan.code);
    let request = format!(
        "POST /user/class/invites/redeem HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}{number}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        plan.address,
        plan.prefix,
        body.len(),
    );
    ready.wait().await;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let done = Instant::now();
    let status = answer.split(' ').nth(1).unwrap_or("none");
    let detail = answer.rsplit_once(r#""detail":""#).and_then(|(_, rest)| rest.split('"').next());
    Ok((detail.map_or_else(|| status.to_owned(), |detail| format!("{status} {detail}")), done))
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let Some(plan) = plan().map(Arc::new) else {
        eprintln!("usage: crowd HOST:PORT TOKEN_PREFIX PEOPLE CODE");
        return std::process::ExitCode::from(2);
    };
    let ready = Arc::new(Barrier::new(plan.people + 1));
    let people: Vec<_> = (0..plan.people)
        .map(|number| tokio::spawn(redeem(Arc::clone(&plan), number, Arc::clone(&ready))))
        .collect();
    ready.wait().await;
    let begun = Instant::now();
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut latencies: Vec<Duration> = Vec::with_capacity(plan.people);
    for person in people {
        match person.await {
            Ok(Ok((answer, done))) => {
                *answers.entry(answer).or_default() += 1;
                latencies.push(done.saturating_duration_since(begun));
            }
            Ok(Err(error)) => *answers.entry(error.to_string()).or_default() += 1,
            Err(_) => return std::process::ExitCode::FAILURE,
        }
    }
    latencies.sort_unstable();
    let at = |percent: usize| {
        latencies
            .get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)))
            .map_or(0.0, Duration::as_secs_f64)
    };
    let report = serde_json::json!({"answers": answers, "p50_s": at(50), "seconds": at(100)});
    println!("{report}");
    std::process::ExitCode::SUCCESS
}
