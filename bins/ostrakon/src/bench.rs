use std::time::Duration;

use ostrakon_client::load::{LoadClient, LoadOptions, LoadReport};
use serde_json::json;

use crate::{
    cli::{BenchArguments, Format},
    context::{Context, environment},
    error::Failure,
    show,
};

pub(crate) async fn run(context: Context, arguments: BenchArguments) -> Result<(), Failure> {
    let client = match &arguments.server {
        Some(url) => {
            if !arguments.allow_remote && !url.is_loopback() {
                return Err(Failure::remote());
            }
            LoadClient::register(&context.config, url, environment()).await?
        }
        None => {
            let client = LoadClient::of(&context.workstation)?;
            if !arguments.allow_remote && !client.is_loopback() {
                return Err(Failure::remote());
            }
            client
        }
    };
    let options = LoadOptions {
        connections: arguments.connections.into(),
        duration: Duration::from_secs(arguments.seconds),
        warm_up: Duration::from_secs(arguments.warm_up),
        batch: arguments.batch.into(),
        suite: arguments.suite,
        fresh: arguments.fresh,
        path: arguments.path,
    };
    let report = client.run(&options).await?;
    match context.format {
        Format::Human => tell(&report),
        Format::Json => show::line(&object(&options, &report)),
    }
    Failure::of_load(&report)
}

fn tell(report: &LoadReport) {
    let rates = [
        ("requests", report.requests),
        ("released", report.released),
        ("denied", report.denied()),
        ("wrong", report.wrong),
        ("failed", report.failed),
    ];
    for (name, count) in rates {
        if count > 0 || matches!(name, "requests" | "released") {
            show::line(&format!(
                "{name:<10} {count:>10}  {:>9.0}/s",
                per_second(count, report.elapsed)
            ));
        }
    }
    for (name, permille) in PERCENTILES {
        if let Some(latency) = report.latencies.permille(permille) {
            show::line(&format!("{name:<10} {:>10.3} ms", millis(latency)));
        }
    }
}

/// Names of latencies, and the parts of 1000 that are not slower.
const PERCENTILES: [(&str, u16); 4] = [("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1000)];

fn object(options: &LoadOptions, report: &LoadReport) -> serde_json::Value {
    let latencies = PERCENTILES.map(|(name, permille)| {
        let latency = report.latencies.permille(permille);
        (name.to_owned(), json!(latency.map(millis)))
    });
    json!({
        "connections": options.connections,
        "batch": options.batch,
        "suite": options.suite,
        "mode": if options.fresh { "fresh" } else { "session" },
        "seconds": report.elapsed.as_secs_f64(),
        "requests": report.requests,
        "requests_per_second": per_second(report.requests, report.elapsed),
        "released": report.released,
        "released_per_second": per_second(report.released, report.elapsed),
        "denied": {
            "policy": report.denied_policy,
            "quota": report.denied_quota,
            "other": report.denied_other,
        },
        "wrong": report.wrong,
        "failed": report.failed,
        "latency_ms": serde_json::Map::from_iter(latencies),
    })
}

#[expect(clippy::cast_precision_loss, reason = "for people to look at")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

fn millis(latency: Duration) -> f64 {
    latency.as_secs_f64() * 1000.0
}
