//! Signed edits as fast as they are answered: SOLAPI's edit of a relationship, each with a salt and a signature of its
//! own.
//!
//! `signed HOST:PORT API_KEY SECRET ID_PREFIX IDS SECONDS` prints one line of JSON, with the names that load.lua gives
//! its figures. Relationship `n` has the id of the prefix and the number, in eight digits.

#![expect(clippy::disallowed_methods, reason = "whoever signs goes by the clock on the wall")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// As many as wrk holds in the other rows.
const CONNECTIONS: u64 = 64;

#[derive(Clone)]
struct Plan {
    address: String,
    api_key: String,
    secret: String,
    prefix: String,
    ids: u64,
    seconds: u64,
}

fn plan() -> Option<Plan> {
    let mut arguments = std::env::args().skip(1);
    Some(Plan {
        address: arguments.next()?,
        api_key: arguments.next()?,
        secret: arguments.next()?,
        prefix: arguments.next()?,
        ids: arguments.next()?.parse().ok()?,
        seconds: arguments.next()?.parse().ok()?,
    })
}

fn signature(secret: &str, date: &str, salt: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(date.as_bytes());
    mac.update(salt.as_bytes());
    let mut text = String::new();
    for byte in mac.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Edits until the time is over; gives latencies and the number of answers other than 200.
fn run(plan: &Plan, connection: u64, end: Instant) -> std::io::Result<(Vec<Duration>, u32)> {
    let stream = TcpStream::connect(&plan.address)?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let begun = jiff::Timestamp::now().as_nanosecond();
    let (mut latencies, mut refused) = (Vec::new(), 0);
    for number in 0_u64.. {
        let sent = Instant::now();
        if sent >= end {
            break;
        }
        // A multiplicative walk touches ids in no order.
        let id = ((number * CONNECTIONS + connection) * 2_654_435_761) % plan.ids;
        let date = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let salt = format!("{begun:x}-{connection:02x}-{number:x}");
        let signature = signature(&plan.secret, &date, &salt);
        let body = format!(r#"{{"metadata":{{"note":"{connection}-{number}","level":{number}}}}}"#);
        write!(
            writer,
            "PATCH /crm-core/v1/relationships/{}{id:08} HTTP/1.1\r\nHost: {}\r\n\
             Authorization: HMAC-SHA256 apiKey={}, date={date}, salt={salt}, signature={signature}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            plan.prefix,
            plan.address,
            plan.api_key,
            body.len(),
        )?;
        if read_answer(&mut reader)? != 200 {
            refused += 1;
        }
        latencies.push(sent.elapsed());
    }
    Ok((latencies, refused))
}

/// Reads one answer whole and gives its status.
fn read_answer(reader: &mut BufReader<TcpStream>) -> std::io::Result<u16> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    Ok(status)
}

fn main() -> std::process::ExitCode {
    let Some(plan) = plan() else {
        eprintln!("usage: signed HOST:PORT API_KEY SECRET ID_PREFIX IDS SECONDS");
        return std::process::ExitCode::from(2);
    };
    let begun = Instant::now();
    let end = begun + Duration::from_secs(plan.seconds);
    let threads: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let plan = plan.clone();
            std::thread::spawn(move || run(&plan, connection, end))
        })
        .collect();
    let (mut latencies, mut refused, mut broken) = (Vec::new(), 0, 0);
    for thread in threads {
        match thread.join() {
            Ok(Ok((more, others))) => {
                latencies.extend(more);
                refused += others;
            }
            Ok(Err(_)) => broken += 1,
            Err(_) => return std::process::ExitCode::FAILURE,
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |percent: usize| {
        let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    let report = serde_json::json!({
        "requests": latencies.len(), "seconds": seconds, "refused": refused, "broken": broken,
        "p50_ms": at(50), "p99_ms": at(99), "max_ms": at(100),
    });
    println!("RESULT {report}");
    std::process::ExitCode::SUCCESS
}
