//! The log on standard error. Standard output belongs to the ready line.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// rumqttd speaks in spans and lines of its own, one for every packet; only its complaints are wanted.
const QUIET: &str = "rumqttd=error";

/// Starts the log; `filter` is in `tracing`'s words.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).with_context(|| {
        format!("setting `log`: {filter:?} is not a log filter such as `info` or `tifo_broker=debug`")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
