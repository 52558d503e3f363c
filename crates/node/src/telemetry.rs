//! Logging. No identifier, hashed or not, enters a log line or a span; metrics are in `exposition`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSection};

/// Starts logging to standard error for the whole process; a second call does nothing.
///
/// # Errors
/// The filter's error when it does not parse.
pub fn start_logging(section: &LogSection) -> Result<(), tracing_subscriber::filter::ParseError> {
    // The Raft library tells of every restart and reconnection at length; what matters of that is
    // told by our own lines. Whoever names it in the filter gets what they ask for.
    let quiet = if section.filter.contains("openraft") {
        ""
    } else {
        ",openraft=error"
    };
    let filter = EnvFilter::try_new(format!("{}{quiet}", section.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match section.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
