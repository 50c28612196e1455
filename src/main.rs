//! The `tifo` binary: command line, settings, wiring, shutdown. No logic of its own.

mod aggregate;
mod aggregates;
mod cli;
mod config;
mod fleet;
mod log_files;
mod log_side;
mod logging;
mod no_log;
mod node;
mod replay;
mod serve;

use clap::Parser;
use std::process::ExitCode;

use cli::{AggregateCommand, Cli, Command};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => replay::run(args).map(|()| ExitCode::SUCCESS),
        Command::Config(args) => print_config(&args).map(|()| ExitCode::SUCCESS),
        Command::Aggregate(AggregateCommand::Rebuild(args)) => aggregate::rebuild(args).map(|()| ExitCode::SUCCESS),
        Command::Log(command) => log_files::run(&command),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tifo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_config(args: &cli::ServeArgs) -> anyhow::Result<()> {
    print!("{}", config::load(args)?.describe()?);
    Ok(())
}
