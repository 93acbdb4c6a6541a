//! An open-loop load generator for certificate edits: a fixed number a second, whatever the answers do.
//!
//! `paced HOST:PORT API_KEY FIRST_ID LAST_ID PER_SECOND SECONDS` prints one line of JSON. Latency counts from the
//! instant at which the request was due, so a stall is charged to every request that it made late.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Requests in flight at most; at 200 a second each connection is due every 160 ms.
const CONNECTIONS: u32 = 32;

#[derive(Clone)]
struct Plan {
    address: String,
    api_key: String,
    first_id: u64,
    last_id: u64,
    per_second: u32,
    seconds: u32,
}

fn plan() -> Option<Plan> {
    let mut arguments = std::env::args().skip(1);
    Some(Plan {
        address: arguments.next()?,
        api_key: arguments.next()?,
        first_id: arguments.next()?.parse().ok()?,
        last_id: arguments.next()?.parse().ok()?,
        per_second: arguments.next()?.parse().ok()?,
        seconds: arguments.next()?.parse().ok()?,
    })
}

/// Sends every `CONNECTIONS`-th request of the plan; gives latencies and the number of answers other than 200.
fn run(plan: &Plan, connection: u32, start: Instant) -> std::io::Result<(Vec<Duration>, u32)> {
    let stream = TcpStream::connect(&plan.address)?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut latencies = Vec::new();
    let mut refused = 0;
    for number in (connection..plan.per_second * plan.seconds).step_by(CONNECTIONS as usize) {
        let due = start + Duration::from_secs(1) * number / plan.per_second;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // A multiplicative walk touches ids in no order, the same ones each time.
        let span = plan.last_id - plan.first_id + 1;
        let id = plan.first_id + (u64::from(number) * 2_654_435_761) % span;
        let body = format!(r#"{{"admin_comment":"paced {number}","level":{number}}}"#);
        write!(
            writer,
            "PATCH /open-api/achievements/{id} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            plan.address,
            plan.api_key,
            body.len(),
        )?;
        if read_answer(&mut reader)? != 200 {
            refused += 1;
        }
        latencies.push(due.elapsed());
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
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(status)
}

fn main() -> std::process::ExitCode {
    let Some(plan) = plan() else {
        eprintln!("usage: paced HOST:PORT API_KEY FIRST_ID LAST_ID PER_SECOND SECONDS");
        return std::process::ExitCode::from(2);
    };
    // Time for every connection to be made before the first request is due.
    let start = Instant::now() + Duration::from_millis(200);
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let plan = plan.clone();
            std::thread::spawn(move || run(&plan, connection, start))
        })
        .collect();
    let mut latencies = Vec::new();
    let mut refused = 0;
    for sender in senders {
        match sender.join() {
            Ok(Ok((some, other))) => {
                latencies.extend(some);
                refused += other;
            }
            Ok(Err(error)) => {
                eprintln!("paced: {error}");
                return std::process::ExitCode::FAILURE;
            }
            Err(_) => return std::process::ExitCode::FAILURE,
        }
    }
    latencies.sort_unstable();
    let at = |percent: usize| {
        latencies
            .get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)))
            .map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    println!(
        r#"{{"requests":{},"refused":{refused},"p50_ms":{:.3},"p99_ms":{:.3},"max_ms":{:.3}}}"#,
        latencies.len(),
        at(50),
        at(99),
        at(100),
    );
    std::process::ExitCode::SUCCESS
}
