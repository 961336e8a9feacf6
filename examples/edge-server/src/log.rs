//! Tracing output on standard error: `RUST_LOG` chooses, then the configuration; `info` is the default.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub(crate) fn start(configured: Option<&str>) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = match configured {
        Some(directives) if std::env::var_os(EnvFilter::DEFAULT_ENV).is_none() => {
            filter.parse_lossy(directives)
        }
        _ => filter.from_env_lossy(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
}
