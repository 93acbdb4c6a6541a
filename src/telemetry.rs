//! What the server counts, in the words of Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::dialect::{WIRES, Wire};
use crate::domain::delivery::message::Channel;

/// Upper bounds of the buckets of times, seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// How often times are put into their buckets; until then each of them takes memory.
const SORT_EVERY: Duration = Duration::from_secs(1);
/// The classes of status codes that are told apart.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The meters, looked up once: by name that costs more than what they count.
struct Meters {
    prometheus: Option<PrometheusHandle>,
    wires: Vec<WireMeters>,
}

struct WireMeters {
    requests: [Counter; CLASSES.len()],
    seconds: Histogram,
}

impl WireMeters {
    fn of(wire: &Wire) -> Self {
        let dialect = wire.dialect.name();
        let requests = CLASSES.map(|class| {
            metrics::counter!("haksa_requests_total", "dialect" => dialect, "status" => class)
        });
        Self {
            requests,
            seconds: metrics::histogram!("haksa_request_seconds", "dialect" => dialect),
        }
    }
}

static METERS: OnceLock<Meters> = OnceLock::new();

fn meters() -> &'static Meters {
    METERS.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
        let prometheus = builder.ok().and_then(|builder| builder.install_recorder().ok());
        Meters { prometheus, wires: WIRES.iter().map(WireMeters::of).collect() }
    })
}

/// Begins to count, and keeps the memory for it bounded for as long as it is polled.
pub async fn run() {
    let Some(prometheus) = &meters().prometheus else { return };
    loop {
        tokio::time::sleep(SORT_EVERY).await;
        crate::sabotage::stumble("meters");
        prometheus.run_upkeep();
    }
}

/// Counts a request that was answered.
pub fn count(wire: &Wire, status: StatusCode, took: Duration) {
    let own = WIRES.iter().position(|one| one.dialect == wire.dialect);
    let Some(meters) = own.and_then(|own| meters().wires.get(own)) else { return };
    let class = usize::from(status.as_u16() / 100).saturating_sub(2).min(CLASSES.len() - 1);
    if let Some(requests) = meters.requests.get(class) {
        requests.increment(1);
    }
    meters.seconds.record(took.as_secs_f64());
}

/// Counts an attempt to deliver a message, and how it ended.
pub fn count_attempt(channel: Channel, outcome: &'static str) {
    let channel = channel.name();
    metrics::counter!("haksa_delivery_attempts_total", "channel" => channel, "outcome" => outcome)
        .increment(1);
}

/// Everything counted so far, in the text format of Prometheus; none when something else in this
/// process counts.
pub fn text() -> Option<String> {
    let prometheus = meters().prometheus.as_ref()?;
    metrics::counter!("haksa_log_lines_lost_total").absolute(crate::log::lost());
    Some(prometheus.render())
}
