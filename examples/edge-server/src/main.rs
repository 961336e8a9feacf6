//! An HTTP edge server: `tower-edge` in front of any HTTP site, or of a bundled demonstration;
//! and the command line that asks and tells one that is running.

#![allow(rustdoc::bare_urls, reason = "what clap shows of documentation is plain text")]

mod admit;
mod alarm;
mod answer;
mod api;
mod args;
mod client;
mod compress;
mod config;
mod configured;
mod control;
mod demo;
mod distribution;
mod door;
mod forms;
mod front;
mod gather;
mod log;
mod media;
mod page;
mod patience;
mod quiet;
mod relocate;
mod run;
mod serve;
mod single;
mod site;
mod streams;
mod token;
mod trust;

use std::error::Error;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use mimalloc::MiMalloc;

use self::args::Task;

/// It is faster than glibc's, and no holes stay between many small objects.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Task::read() {
        Ok(Task::Serve(args)) => {
            log::start(None);
            ended(run::run(*args))
        }
        Ok(Task::Configured(file)) => by_file(file),
        Ok(Task::Check(file)) => match configured::check(&file) {
            Ok(()) => {
                println!("{}: nothing is wrong", file.display());
                ExitCode::SUCCESS
            }
            Err(report) => refused(&report),
        },
        Ok(Task::DemoDistribution(args)) => {
            log::start(None);
            ended(demo::distribution::run(args))
        }
        Ok(Task::Call(call)) => client::run(call),
        Err(exit) => exit,
    }
}

fn by_file(file: PathBuf) -> ExitCode {
    match config::Config::load(&file) {
        Ok(config) => {
            log::start(config.log.as_deref());
            ended(configured::run(file, config))
        }
        Err(report) => refused(&report),
    }
}

fn ended(outcome: Result<(), Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<config::Report>() => refused(&error),
        Err(error) => refused(&format!("edge-server: {error}")),
    }
}

/// Of a file: one line a problem, in the form that editors and compilers share.
fn refused(report: &dyn Display) -> ExitCode {
    eprintln!("{report}");
    ExitCode::from(2)
}
