//! An HTTP edge server: `tower-edge` in front of any HTTP site, or of a bundled demonstration.

mod admit;
mod args;
mod demo;
mod forms;
mod log;
mod page;
mod patience;
mod run;
mod serve;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::read() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    log::start();
    match run::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-server: {error}");
            ExitCode::from(2)
        }
    }
}
