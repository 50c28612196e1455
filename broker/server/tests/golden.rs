//! Golden frames: what Apache Kafka 4.3.1 answers, byte for byte, is what this broker answers.
//!
//! `golden/*.txt`, one per API: hexadecimal frames without their size. `setup` requests come first and their answers are not
//! compared; then each `request` is followed by its `response`, or by `closed` when it costs the connection. A new case is
//! a few lines in a file. All files are played on one broker, so each uses topics of its own.
#![allow(clippy::unwrap_used)]

mod golden_file;
mod support;

use golden_file::{Expected, parse};
use std::{fs, net::SocketAddr, path::Path};
use support::*;

async fn play(file: &Path, address: SocketAddr) -> Vec<String> {
    let mut client = Client::connect(address).await;
    let mut wrong = Vec::new();
    for step in parse(&fs::read_to_string(file).unwrap()) {
        client.send_frame(&step.request).await;
        let got = client.receive_frame().await;
        let is_right = match (&step.expected, &got) {
            (Expected::Anything, got) => got.is_some(),
            (Expected::Response(expected), Some(got)) => got == expected,
            (Expected::Closed, None) => true,
            _ => false,
        };
        if !is_right {
            wrong.push(format!(
                "{}: {}\n  expected {:x?}\n  got      {:x?}",
                file.display(),
                step.title,
                step.expected,
                got.as_deref()
            ));
        }
        if got.is_none() {
            client = Client::connect(address).await;
        }
    }
    wrong
}

#[tokio::test]
async fn answers_are_kafkas_byte_for_byte() {
    let files = golden_file::all();
    assert!(files.len() > 10, "{files:?}");
    let dir = tempfile::tempdir().unwrap();
    // With Kafka's own defaults, which DescribeConfigs tells.
    let mut config = config(dir.path());
    config.settings.remove("log.retention.ms");
    let broker = tifo_broker::Broker::start(config, tifo_broker::Clock::system()).await.unwrap();
    let mut wrong = Vec::new();
    for file in files {
        wrong.extend(play(&file, broker.kafka_addr()).await);
    }
    broker.shutdown().await;
    assert!(wrong.is_empty(), "{} answers differ\n{}", wrong.len(), wrong.join("\n"));
}
