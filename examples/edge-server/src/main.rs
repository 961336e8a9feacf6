//! An HTTP edge server: `tower-edge` in front of any HTTP site, or of a bundled demonstration.

mod admit;
mod args;
mod config;
mod configured;
mod demo;
mod forms;
mod log;
mod page;
mod patience;
mod run;
mod serve;
mod site;
mod upstream;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::read() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let outcome = match args {
        args::Args { command: Some(args::Command::Check { file }), .. } => match configured::check(&file) {
            Ok(()) => {
                println!("{}: nothing is wrong", file.display());
                return ExitCode::SUCCESS;
            }
            Err(report) => return refused(&report),
        },
        args::Args { config: Some(file), .. } => {
            let config = match config::Config::load(&file) {
                Ok(config) => config,
                Err(report) => return refused(&report),
            };
            log::start(config.log.as_deref());
            configured::run(file, config)
        }
        args => {
            log::start(None);
            run::run(args)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge-server: {error}");
            ExitCode::from(2)
        }
    }
}

/// One line a problem, in the form that editors and compilers share.
fn refused(report: &config::Report) -> ExitCode {
    eprintln!("{report}");
    ExitCode::from(2)
}
