use std::{env, fs, future::pending};

use ostrakon_server::{
    Clock, Config, Server,
    config::{ConfigError, LogFormat},
    policy_engine::Registry,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Context;
use crate::error::{BAD_CONFIGURATION, Failure};

pub(crate) async fn run(context: &Context, registry: &Registry) -> Result<(), Failure> {
    let text = context
        .home
        .read_config()
        .map_err(|error| Failure::new(error.to_string()))?;
    let config = Config::load(&text, |name| env::var(name).ok())
        .map_err(ostrakon_server::BuildError::from)?;
    start_log(&config)?;
    let home = context.home.clone();
    let server = Server::build_with(home, &config, Clock::system(), registry.clone()).await?;
    let address = server
        .address()
        .map_err(|error| Failure::new(error.to_string()))?;
    let afar = server.administration();
    if let Some(address) = afar.map_err(|error| Failure::new(error.to_string()))? {
        tracing::info!(%address, "administrators are heard");
    }
    // Before anybody is told that it serves: who hears that may stop it.
    let stop = told_to_stop()?;
    tracing::info!(%address, kss_id = %server.keyserver().kss_id(), "serving");
    let drained = server.run(stop).await;
    tracing::info!(cut_off = drained.cut_off, "stopped");
    Ok(())
}

/// Completes at SIGTERM, SIGINT or SIGHUP. The handlers are in place when this returns.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()> + Send, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(error.to_string()));
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    // Under `nohup` it goes on: that is what it is for.
    let hangup = (!hangup_is_ignored()).then(|| listen(SignalKind::hangup()));
    let mut hangup = hangup.transpose()?;
    Ok(async move {
        let hangup = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup => {}
        }
    })
}

/// Whether whoever started this process has it ignore SIGHUP. Where the system does not tell, it does not.
fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log.level).map_err(|error| {
        let error = ConfigError::Value {
            key: "log.level",
            reason: error.to_string(),
        };
        Failure::from(ostrakon_server::BuildError::from(error))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would say so on standard error, which is what cannot be written, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let started = match config.log.format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text => log.with_target(false).with_ansi(false).try_init(),
    };
    started.map_err(|error| Failure::Said {
        message: format!("cannot start the log: {error}"),
        hint: None,
        code: BAD_CONFIGURATION,
    })
}
