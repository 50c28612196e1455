//! The log on standard error. Standard output belongs to the ready line.

use anyhow::Context;
use tifo_broker::loggers::PutInForce;
use tracing_subscriber::{EnvFilter, reload};

use crate::cli::LogFormat;

/// rumqttd speaks in spans and lines of its own, one for every packet; only its complaints are wanted.
const QUIET: &str = "rumqttd=error";

/// The log's filter, and how another one is put in force.
pub struct Log {
    pub filter: String,
    pub put_in_force: PutInForce,
}

/// Starts the log; `filter` is in `tracing`'s words.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<Log> {
    let whole = format!("{QUIET},{filter}");
    let parsed = EnvFilter::try_new(&whole).with_context(|| {
        format!("setting `log`: {filter:?} is not a log filter such as `info` or `tifo_broker=debug`")
    })?;
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    let put_in_force = match format {
        LogFormat::Text => {
            let log = log.with_ansi(false).with_env_filter(parsed).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            put_in_force(handle)
        }
        LogFormat::Json => {
            let log = log.json().with_env_filter(parsed).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            put_in_force(handle)
        }
    };
    Ok(Log { filter: whole, put_in_force })
}

fn put_in_force<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> PutInForce {
    Box::new(move |filter| {
        let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    })
}
