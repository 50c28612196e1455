//! The command line. It only says what was asked for; `config` merges it with file and environment.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

use crate::replay::ReplayArgs;

/// A Kafka-compatible log, an aggregator inside it and an MQTT fan-out, in one binary.
#[derive(Debug, Parser)]
#[command(name = "tifo", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker, the aggregator and the gateways
    Serve(ServeArgs),
    /// Send recorded events to a running tifo, with their original gaps
    Replay(ReplayArgs),
    /// Print every setting in force and where it comes from
    Config(ServeArgs),
    /// Aggregates of a running tifo
    #[command(subcommand)]
    Aggregate(AggregateCommand),
    /// Check or repair the log's files, with no broker running
    #[command(subcommand)]
    Log(LogCommand),
}

/// What `tifo aggregate` does, over HTTP.
#[derive(Debug, Subcommand)]
pub enum AggregateCommand {
    /// Count old events again into another topic, while the aggregate itself goes on
    Rebuild(RebuildArgs),
}

#[derive(Debug, Clone, Args)]
pub struct RebuildArgs {
    /// The aggregate whose definition is used
    pub name: String,
    /// From this event time on: ISO 8601, or ms since 1970 [default: from the beginning of the raw topic]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// The topic to write to; late and bad events go to TOPIC-late and TOPIC-bad
    #[arg(long, value_name = "TOPIC")]
    pub into: String,
    /// Address of the HTTP gateway
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub server: String,
    /// Let it go on counting when all is rebuilt, as an aggregate named TOPIC
    #[arg(long)]
    pub keep: bool,
}

/// What `tifo log` does with a data directory, or with the directory of one partition.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read every file and say what is wrong, where, what it means and what repair would do; change nothing
    #[command(after_help = EXIT_CODES)]
    Check(LogArgs),
    /// Mend what check complains of; bytes that are taken out of a log are kept in a .damaged file, offsets stay
    #[command(after_help = EXIT_CODES)]
    Repair(LogArgs),
}

const EXIT_CODES: &str = "Exit code: 0 nothing is (any more) wrong; 1 could not run; 2 wrong command line; \
    3 only what the broker mends by itself; 4 damage";

#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// A data directory, or the directory of one partition
    pub dir: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Flags of `serve`; each overrides the environment, which overrides the file.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Settings file [default: tifo.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "TIFO_CONFIG")]
    pub config: Option<PathBuf>,
    /// Free ports and temporary data that is removed at exit: for test rigs
    #[arg(long)]
    pub ephemeral: bool,
    /// Parts to run: any of broker, aggregator, http, mqtt [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub roles: Option<Vec<Role>>,
    /// An Apache Kafka cluster to run the gateways and the aggregator on, HOST:PORT,…; no broker here
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Option<String>,
    /// Where the log lives [default: ./tifo-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Kafka listener, PORT or HOST:PORT; port 0 means any free one [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub kafka: Option<SocketAddr>,
    /// HTTP listener [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub http: Option<SocketAddr>,
    /// MQTT listener [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub mqtt: Option<SocketAddr>,
    /// What this process is in the tree of MQTT nodes; all but main follow the node at --upstream, with --roles mqtt or mqtt,http
    #[arg(long, value_enum)]
    pub mqtt_role: Option<MqttRole>,
    /// The MQTT node that this one follows
    #[arg(long, value_name = "HOST:PORT")]
    pub upstream: Option<String>,
    /// An MQTT broker elsewhere that a bridge brings everything to
    #[arg(long, value_name = "mqtt://HOST:PORT")]
    pub downstream: Option<String>,
    /// The cluster that this MQTT node is of [default: local]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// A publish node keeps so many subscribe nodes on this machine, by the size of the crowd
    #[arg(long, value_name = "MIN..MAX")]
    pub autoscale: Option<String>,
    /// What acknowledged means: page-cache survives the death of the process, fsync a power cut too [default: page-cache]
    #[arg(long, value_enum)]
    pub durability: Option<Durability>,
    /// Format of the log on standard error
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
}

/// A part of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Broker,
    Aggregator,
    Http,
    Mqtt,
}

/// `[mqtt] role`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MqttRole {
    Main,
    Publish,
    Subscribe,
    Bridge,
}

/// `[kafka] durability`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    PageCache,
    Fsync,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `9092` is a port on the loopback address; else `HOST:PORT` with a numeric host or a name that resolves.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    use std::net::ToSocketAddrs;
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.to_socket_addrs()
        .map_err(|error| format!("not PORT or HOST:PORT ({error})"))?
        .next()
        .ok_or_else(|| "the name resolves to no address".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_a_port_or_host_and_port() {
        assert_eq!(parse_address("9092").unwrap().to_string(), "127.0.0.1:9092");
        assert_eq!(parse_address("0.0.0.0:0").unwrap().to_string(), "0.0.0.0:0");
        assert_eq!(parse_address("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert!(parse_address("99999").is_err());
        assert!(parse_address("").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
