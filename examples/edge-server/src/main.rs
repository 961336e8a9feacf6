//! An HTTP edge server: `tower-edge` in front of any HTTP site, or of a bundled demonstration;
//! and the command line that asks and tells one that is running.

mod admit;
mod api;
mod args;
mod client;
mod control;
mod demo;
mod log;
mod page;
mod patience;
mod run;
mod serve;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Task::read() {
        Ok(args::Task::Serve(args)) => args,
        Ok(args::Task::Call(call)) => return client::run(call),
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
