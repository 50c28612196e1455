//! Golden frames: what Apache Kafka 4.3.1 answers, byte for byte, is what this broker answers.
//!
//! `golden/*.txt`, one per API: hexadecimal frames without their size. `setup` requests come first and their answers are not
//! compared; then each `request` is followed by its `response`, or by `closed` when it costs the connection. A new case is
//! a few lines in a file. All files are played on one broker, so each uses topics of its own.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, net::SocketAddr, path::Path};
use support::*;

#[derive(Debug, Default)]
struct Script {
    steps: Vec<Step>,
}

#[derive(Debug, Default)]
struct Step {
    title: String,
    request: Vec<u8>,
    expected: Expected,
}

#[derive(Debug, Default)]
enum Expected {
    #[default]
    Anything,
    Response(Vec<u8>),
    Closed,
}

fn parse(text: &str) -> Script {
    let mut script = Script::default();
    let mut title = String::new();
    for line in text.lines() {
        match line.trim_end() {
            "" => {}
            "setup" => script.steps.push(Step::default()),
            "request" => script.steps.push(Step { title: title.clone(), ..Step::default() }),
            "response" => script.steps.last_mut().unwrap().expected = Expected::Response(Vec::new()),
            "closed" => script.steps.last_mut().unwrap().expected = Expected::Closed,
            comment if comment.starts_with('#') => title = comment.trim_start_matches(['#', ' ']).to_owned(),
            hex => {
                let step = script.steps.last_mut().unwrap();
                let bytes = match &mut step.expected {
                    Expected::Response(bytes) => bytes,
                    _ => &mut step.request,
                };
                bytes.extend(decode_hex(hex));
            }
        }
    }
    script
}

fn decode_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

async fn play(file: &Path, address: SocketAddr) -> Vec<String> {
    let mut client = Client::connect(address).await;
    let mut wrong = Vec::new();
    for step in parse(&fs::read_to_string(file).unwrap()).steps {
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
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
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
